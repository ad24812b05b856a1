"""Spark as the lake's engine: on Glue, and where data outgrows a machine."""
