"""Which of a table's files and snapshots are worth less than they cost: decided from metadata alone."""
