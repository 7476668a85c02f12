"""The wire between nodes, without sockets: encryption, frames, sessions, budgets (docs/protocol.md, section 9)."""
