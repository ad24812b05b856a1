"""Jars of this runtime. As a program it fetches all of them: two Ivys at a time spoil each other's cache."""

from __future__ import annotations

from iceberg_datamart.app.settings_file import Layer, default_config_text, parse_layers
from iceberg_datamart.lake.runtime import GLUE_4_0, GLUE_5_1, present_runtime
from iceberg_datamart.lake.spark.session import AWS_PACKAGE, PACKAGES, _jars, spark_context

# What Glue has for s3:// and for Avro, here from Maven: by the versions of Spark and of the Hadoop it brings.
_OF_FILES = {
    GLUE_4_0.name: (
        "org.apache.hadoop:hadoop-aws:3.3.2",
        "com.amazonaws:aws-java-sdk-bundle:1.11.1026",
        "org.apache.spark:spark-avro_2.12:3.3.0",
    ),
    GLUE_5_1.name: (
        "org.apache.hadoop:hadoop-aws:3.3.4",
        "com.amazonaws:aws-java-sdk-bundle:1.12.262",
        "org.apache.spark:spark-avro_2.12:3.5.6",
    ),
}


def reading_files(endpoint: str) -> dict[str, str]:
    """Return the Spark settings for tables of files at `s3://`, by Hadoop's S3A."""
    return {
        **_jars((present_runtime().iceberg, *PACKAGES, *_OF_FILES[present_runtime().name])),
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }


def fetch() -> None:
    """Have Spark fetch every jar that any test needs, unless all are there."""
    runtime = present_runtime()
    every = (runtime.iceberg, *PACKAGES, AWS_PACKAGE, *_OF_FILES[runtime.name])
    if "spark.jars" in _jars(every):
        return
    packages = ",".join(every)
    overlay = f"version: 1\nspark: {{properties: {{spark.jars.packages: '{packages}'}}}}\n"
    layers = [Layer(default_config_text(), "the shipped settings"), Layer(overlay, "all jars")]
    spark_context(parse_layers(layers, {})).stop()


if __name__ == "__main__":
    fetch()
