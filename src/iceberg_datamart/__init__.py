"""Incremental, exact merges of operational tables into Apache Iceberg, and joined marts kept true."""

from importlib.metadata import version

__version__ = version("iceberg-datamart")
