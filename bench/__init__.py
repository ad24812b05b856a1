"""Seconds of a run, beside the seconds of a hand-written Spark job that does the same."""
