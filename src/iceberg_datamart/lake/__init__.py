"""The lake behind `ports.Lake`: Iceberg tables, written by Spark, described by PyIceberg."""
