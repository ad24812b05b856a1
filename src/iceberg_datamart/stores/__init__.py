"""The timestamp file, the counts beside it, the metrics: where a run keeps what is no table."""
