"""The ledger tree: nodes, the sparse Merkle sum tree, proofs."""
