"""The only rooms with sockets, files, clocks and randomness."""
