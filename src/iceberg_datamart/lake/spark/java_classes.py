"""Java classes that are asked for in every query, looked up once."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What this package names, and what PySpark 3.3 to 3.5 names for each column, query and error.
_NAMED_OFTEN = (
    "org.apache.iceberg.spark.Spark3Util",
    "org.apache.spark.sql.SparkSession",
    "org.apache.spark.storage.StorageLevel",
    "org.apache.spark.util.Utils",
    "py4j.reflection.TypeUtil",
    "java.lang.Thread",
    "java.util.HashMap",
    "SparkSession",
    "PythonUtils",
    "functions",
)


def remember_classes(session: SparkSession) -> None:
    """Let the JVM's view in this process answer for the classes by itself, for the rest of its life.

    Py4J 0.10.9 keeps nothing that it has found: each part of a name is a call, for which the JVM looks
    through every jar on its class path, once for each package that the part may be a class of.
    https://github.com/py4j/py4j/blob/0.10.9.7/py4j-python/src/py4j/java_gateway.py (JVMView, JavaPackage)
    """
    for name in _NAMED_OFTEN:
        reduce(_remembered, name.split("."), java(session))


def java(session: SparkSession) -> Any:
    """Return the view of the session's JVM through which its classes are reached."""
    return session._jvm  # noqa: SLF001


def load_table(session: SparkSession, table: str) -> Any:
    """Return Iceberg's own object of a table, named as in SQL, as the catalog has it now."""
    spark: Any = session._jsparkSession  # noqa: SLF001
    return java(session).org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark, table)


def _remembered(package: Any, name: str) -> Any:
    """Return a class or package within `package`, which has it as an attribute of its own afterwards."""
    if name not in vars(package):
        setattr(package, name, getattr(package, name))
    return getattr(package, name)
