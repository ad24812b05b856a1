"""A stand-in for Glue's own library, which is licensed for use on AWS alone."""


class GlueContext:
    def __init__(self, spark_context: object) -> None:
        self.spark_context = spark_context
