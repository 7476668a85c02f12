"""A simulated world: the node as it is, over virtual time, a simulated network and simulated disks."""
