"""Agreement of a committee on the one successor of a header: digests in, votes and seals out."""
