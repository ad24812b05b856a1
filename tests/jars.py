"""Fetch this runtime's jars before tests start several Sparks at a time: Ivy's cache is not made for that."""

from __future__ import annotations

from iceberg_datamart.config_file import default_config_text, parse_config
from iceberg_datamart.lake.session import spark_context

if __name__ == "__main__":
    # The shipped settings are those of AWS, which needs all of them.
    spark_context(parse_config(default_config_text(), {}, "the shipped settings")).stop()
