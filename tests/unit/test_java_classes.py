"""Java classes are looked up once, whoever asks for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from iceberg_datamart.lake.spark.java_classes import java, load_table, remember_classes


class Package:
    """Answers as Py4J's views and packages do: each unknown attribute is a call to the JVM."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name, self._calls = name, calls

    def __getattr__(self, name: str) -> Package:
        inner = f"{self._name}.{name}".lstrip(".")
        self._calls.append(inner)
        return Package(inner, self._calls)

    def __call__(self, *arguments: object) -> tuple[str, tuple[object, ...]]:
        return self._name, arguments


def session_of(calls: list[str]) -> Any:
    return cast("Any", SimpleNamespace(_jvm=Package("", calls), _jsparkSession="the session"))


def test_a_remembered_class_is_not_looked_up_again() -> None:
    calls: list[str] = []
    session = session_of(calls)
    remember_classes(session)
    assert "org.apache.iceberg.spark.Spark3Util" in calls
    calls.clear()
    assert java(session).java.util.HashMap() == ("java.util.HashMap", ())
    assert java(session).functions() == ("functions", ())
    assert calls == []


def test_sessions_of_one_jvm_remember_together() -> None:
    calls: list[str] = []
    session = session_of(calls)
    remember_classes(session)
    calls.clear()
    remember_classes(session)
    assert calls == []


def test_a_table_is_loaded_by_its_name_in_sql_each_time() -> None:
    calls: list[str] = []
    session = session_of(calls)
    remember_classes(session)
    expected = ("the session", "`lake`.`db`.`t`")
    calls.clear()
    for _ in range(2):
        name, arguments = load_table(session, "`lake`.`db`.`t`")
        assert (name, arguments) == ("org.apache.iceberg.spark.Spark3Util.loadIcebergTable", expected)
    assert calls == ["org.apache.iceberg.spark.Spark3Util.loadIcebergTable"] * 2
