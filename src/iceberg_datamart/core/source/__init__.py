"""What a source says of a table, and how it is read."""
