"""What a run costs, beside jobs written by hand and dlt, on the same source."""
