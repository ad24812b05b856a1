"""Incremental, exact merges of operational tables into Apache Iceberg, and joined marts kept true."""
