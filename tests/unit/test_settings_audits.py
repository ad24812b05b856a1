"""Audits in the settings: what each type takes, which tables it may name, and in which order these come."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from iceberg_datamart.core.settings.audits import AuditConfig, filled, tables_in
from support.fakes.ports import configured, mart, table

VALID: list[tuple[dict[str, Any], str]] = [
    ({"type": "unique_key"}, "unique_key"),
    ({"type": "row_count", "min": 0, "on_fail": "warn"}, "row_count"),
    ({"type": "row_count", "min": 1, "max": 1}, "row_count"),
    ({"type": "foreign_key", "columns": ["a", "b"], "table": "t"}, "foreign_key (a, b)"),
    ({"type": "foreign_key", "columns": {"a": "x"}, "table": "other"}, "foreign_key (a)"),
    ({"type": "sql", "sql": "select *\nfrom {t}"}, "sql (select * from {t})"),
    ({"type": "sql", "sql": "with x as (select ';' as y) select * from x -- ;"}, "sql (with x as"),
    ({"type": "sql", "sql": "select 1", "name": "never"}, "never"),
]


def problems(audits: Any, **others: Any) -> dict[str, str]:
    """Return what is wrong with table `t`, beside `other` and the mart `m`, by path."""
    tables = {"t": table("t", audits=audits), "other": table("other"), "off": table("off", enabled=False)}
    marts = {"m": mart("t", "other")}
    with pytest.raises(ValidationError) as caught:
        configured(**{"tables": {**tables, **others.pop("tables", {})}, "marts": marts, **others})
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


@pytest.mark.parametrize(("audit", "label"), VALID)
def test_an_audit_is_called_by_its_name_or_by_what_it_audits(audit: dict[str, Any], label: str) -> None:
    tables = {"t": table("t", audits=[audit]), "other": table("other")}
    (found,) = configured(tables=tables).tables["t"].audits
    assert found.label.startswith(label)
    assert found.on_fail == audit.get("on_fail", "error")


@pytest.mark.parametrize(
    ("audit", "path", "words"),
    [
        ({"type": "row_count"}, "", "needs 'min' or 'max'"),
        ({"type": "row_count", "min": 2, "max": 1}, "min", "2 is more than max, which is 1"),
        ({"type": "row_count", "min": -1}, "min", "at least 0"),
        ({"type": "row_count", "min": 1.5}, "min", "whole number"),
        ({"type": "row_count", "min": 1, "sql": "select 1"}, "sql", "does not have it; it has min, max"),
        ({"type": "unique_key", "columns": ["a"]}, "columns", "none but its name and on_fail"),
        ({"type": "foreign_key", "columns": ["a"]}, "table", "required for an audit of type 'foreign_key'"),
        ({"type": "foreign_key", "columns": [], "table": "t"}, "columns", "at least one"),
        ({"type": "foreign_key", "columns": ["a"], "table": "oter"}, "table", "did you mean 'other'?"),
        ({"type": "foreign_key", "columns": ["a"], "table": "off"}, "table", "is not enabled"),
        ({"type": "foreign_key", "columns": ["a"], "table": "m"}, "table", "marts come after tables"),
        ({"type": "sql"}, "sql", "required"),
        ({"type": "sql", "sql": "delete from {t}"}, "sql", "begins with SELECT or WITH"),
        ({"type": "sql", "sql": "selected"}, "sql", "begins with SELECT or WITH"),
        ({"type": "sql", "sql": "select 1; select ';'"}, "sql", "one statement, without a semicolon"),
        ({"type": "sql", "sql": "select '{' from {t}"}, "sql", "has a single {; write {{"),
        ({"type": "sql", "sql": "select 1 from {t}}"}, "sql", "has a single }; write }}"),
        ({"type": "sql", "sql": "select 1 from {}"}, "sql", "there is no table ''"),
        ({"type": "sql", "sql": "select 1 from {t}, {oter}"}, "sql", "did you mean 'other'?"),
        ({"type": "sql", "sql": "select 1 from {off}"}, "sql", "is not enabled"),
        ({"type": "sql", "sql": "select 1 from {m}"}, "sql", "let the mart have the audit"),
        ({"type": "unique_key", "on_fail": "reject"}, "on_fail", "'error' or 'warn'"),
        ({"type": "unique"}, "type", "must be 'unique_key', 'row_count'"),
        ({"min": 1}, "type", "required, but not given"),
    ],
)
def test_an_audit_that_cannot_work_is_refused_at_its_path(
    audit: dict[str, Any], path: str, words: str
) -> None:
    refused = problems([{"type": "unique_key"}, audit])
    place = f"tables.t.audits.1.{path}".rstrip(".")
    assert refused.keys() == {place}
    assert words in refused[place]


def test_a_column_that_is_never_read_is_no_part_of_a_foreign_key() -> None:
    audit = {"type": "foreign_key", "columns": {"a": "b"}, "table": "other"}
    for excluding in ("t", "other"):
        excluded = {"t": "a", "other": "b"}[excluding]
        tables = {"t": table("t", audits=[audit]), "other": table("other")}
        tables[excluding]["exclude"] = [excluded]
        refused = problems([], tables=tables)
        assert refused.keys() == {"tables.t.audits.0.columns"}
        assert f"column '{excluded}' is in 'exclude' of '{excluding}'" in refused["tables.t.audits.0.columns"]


def test_a_mart_names_mirrors_and_itself_alone() -> None:
    audits = [{"type": "sql", "sql": f"select 1 from {{{name}}}"} for name in ("m", "t", "n", "off", "zz")]
    marts = {"m": mart("t", "other", audits=audits), "n": mart("t", "other")}
    refused = problems([], marts=marts)
    assert refused.keys() == {f"marts.m.audits.{index}.sql" for index in (2, 3, 4)}
    assert "another mart" in refused["marts.m.audits.2.sql"]


def test_a_table_that_is_not_enabled_may_name_others_that_are_not() -> None:
    audit = {"type": "foreign_key", "columns": ["id"], "table": "a"}
    tables = {
        "t": table("t"),
        "a": table("a", enabled=False),
        "b": table("b", enabled=False, audits=[audit]),
    }
    assert configured(tables=tables).tables["b"].audits[0].table == "a"


def naming(**others: str) -> dict[str, Any]:
    """Return tables whose audits name the tables of these letters."""
    return {
        name: table(
            name, audits=[{"type": "foreign_key", "columns": ["id"], "table": each} for each in letters]
        )
        for name, letters in others.items()
    }


@pytest.mark.parametrize(
    ("tables", "circles"),
    [
        (naming(t="a", a="t"), {"t -> a -> t"}),
        (naming(t="a", a="b", b="c", c="a"), {"a -> b -> c -> a"}),
        (naming(t="ta", a="b", b=""), set()),
        (naming(t="ab", a="c", b="c", c="c"), set()),
        (naming(t="ab", a="t", b="t"), {"t -> a -> t", "t -> b -> t"}),
    ],
)
def test_tables_that_would_wait_for_each_other_are_refused_and_named(
    tables: dict[str, Any], circles: set[str]
) -> None:
    if not circles:
        assert configured(tables=tables).tables.keys() == tables.keys()
        return
    refused = problems([], tables=tables)
    assert len(refused) == len(circles)
    assert all(any(circle in message for message in refused.values()) for circle in circles)


def test_names_in_braces_stand_for_relations_and_double_braces_for_braces() -> None:
    sql = "select '{{x}}', {{{{ from {a}, {Order Items}, {a} -- {{{a}}}"
    assert tables_in(sql) == ("a", "Order Items")
    relations = {"a": "`l`.`a`", "Order Items": "`l`.`Order Items`"}
    expected = "select '{x}', {{ from `l`.`a`, `l`.`Order Items`, `l`.`a` -- {`l`.`a`}"
    assert filled(sql, relations) == expected


def test_an_audit_tells_the_tables_that_it_names() -> None:
    def tables(**audit: Any) -> tuple[str, ...]:
        return AuditConfig.model_validate(audit).tables

    assert tables(type="unique_key") == ()
    assert tables(type="foreign_key", columns=["a"], table="t") == ("t",)
    assert tables(type="sql", sql="select 1 from {a}, {b}, {a}") == ("a", "b")
