"""Where a mirror stands, and what its snapshots record."""
