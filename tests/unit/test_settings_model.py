"""What settings may say, and that every mistake in them is reported with its path."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from pydantic_core import PydanticUndefined

from iceberg_datamart.core.settings.model import (
    Config,
    JoinConfig,
    PostgresSource,
    Settings,
    SourceName,
    TableConfig,
    settings_of,
)
from support.settings import working

REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"


def raw(**changes: Any) -> dict[str, Any]:
    tables = {"account": table(), "queue": table(), "old": table(enabled=False)}
    return working(**{"tables": tables, **changes})


def table(**settings: Any) -> dict[str, Any]:
    return {"source": "prd", "from": "public.account", **settings}


def mart(*joins: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"m": {"from": "account", "joins": list(joins), **settings}}


def join(table: str, **settings: Any) -> dict[str, Any]:
    return {"table": table, "on": ["id"], **settings}


def problems(settings: dict[str, Any], block: type[Settings] = Config) -> dict[str, str]:
    """Return the message of each refused path."""
    with pytest.raises(ValidationError) as caught:
        block.model_validate(settings)
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


# --- single settings


def test_what_is_left_out_has_the_documented_default() -> None:
    account = TableConfig.model_validate(table())
    assert account.from_ == SourceName("public", "account")
    assert (account.primary_key, account.cursor, account.lookback, account.reconcile_every) == (None,) * 4
    assert (account.cursor_timezone, account.max_delete_fraction, account.enabled) == ("UTC", 0.5, True)


def test_settings_can_be_written_in_python_by_attribute_name() -> None:
    written = TableConfig(source="prd", from_=SourceName("public", "account"), reconcile_every=24)
    assert written == TableConfig.model_validate(table(reconcile="every 24 runs"))


def test_settings_survive_a_round_trip_through_plain_values() -> None:
    config = Config.model_validate(raw(marts=mart(join("queue"))))
    assert Config.model_validate(config.model_dump(by_alias=True)) == config


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    config = Config.model_validate(raw())
    with pytest.raises(ValidationError, match="frozen"):
        config.database = "other"


def test_a_block_without_a_value_counts_as_not_written() -> None:
    assert Config.model_validate(raw(marts=None, run=None)) == Config.model_validate(raw())


def test_lookback_minutes_are_a_duration() -> None:
    assert TableConfig.model_validate(table(lookback_minutes=2.5)).lookback == timedelta(minutes=2.5)


@pytest.mark.parametrize(
    ("text", "runs"), [("every 24 runs", 24), ("every 1 run", 1), ("every 999999 runs", 999_999)]
)
def test_reconcile_reads_as_a_number_of_runs(text: str, runs: int) -> None:
    assert TableConfig.model_validate(table(reconcile=text)).reconcile_every == runs


@pytest.mark.parametrize("text", ["decimal(38,0)", "decimal(10, 10)", "decimal(1,1)", "string"])
def test_a_column_type_can_be_a_decimal_or_string(text: str) -> None:
    columns = TableConfig.model_validate(table(columns={"amount": {"type": text}})).columns
    assert columns["amount"].type == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    ["decimal", "decimal(39,0)", "decimal(0,0)", "decimal(5,6)", "decimal(5,-1)", "int", "", "string(5)"],
)
def test_no_other_column_type_can_be_set(text: str) -> None:
    refused = problems(table(columns={"amount": {"type": text}}), TableConfig)
    assert refused.keys() == {"columns.amount.type"}


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("cursor_timezone", "europe/berlin", "Europe/Berlin"),
        ("cursor_timezone", "Europe", "no time zone"),
        ("cursor_timezone", "localtime", "no time zone"),
        ("cursor_timezone", "../../etc/passwd", "no time zone"),
        ("lookback_minutes", -1, "at least 0"),
        ("lookback_minutes", "inf", "must be a number"),
        ("max_delete_fraction", "1.5", "at most 1, not '1.5'"),
        ("max_delete_fraction", "nan", "must be a number"),
        ("reconcile", "24", "every 24 runs"),
        ("reconcile", "every 0 runs", "every 24 runs"),
        ("reconcile", 0, "at least 1"),
        ("partitions", 0, "at least 1"),
        ("partitions", "1.5", "whole number"),
        ("enabled", "perhaps", "true or false"),
        ("primary_key", [], "at least one"),
        ("primary_key", "id", "must be a list"),
        ("primary_key", ["id", "id"], "more than once"),
        ("from", "a.b.c", "put double quotes around"),
        ("from", ["a"], "must be text"),
        ("cursor", "", "must not be empty"),
        ("cursor", "_run_id", "reserved"),
        ("cursr", "updated_at", "did you mean 'cursor'?"),
        ("zzz", None, "unknown setting; known here: audits, checks, columns, cursor,"),
    ],
)
def test_a_value_that_cannot_work_is_refused(setting: str, value: object, words: str) -> None:
    refused = problems(table(**{setting: value}), TableConfig)
    assert refused.keys() == {setting}
    assert words in refused[setting]


@pytest.mark.parametrize("name", ["2nd_lake", "my-lake", "größe", ""])
def test_a_catalog_name_that_spark_cannot_have_is_refused_with_one_that_it_can(name: str) -> None:
    refused = problems(raw(catalog={"type": "glue", "warehouse": "lake", "name": name}))
    words = f"must have only A-Z, a-z, 0-9 and _, and no digit first, as in lake_2, not {name!r}"
    assert refused == {"catalog.name": words}


@pytest.mark.parametrize("name", ["_run_id", "_MERGED_AT"])
def test_lineage_columns_are_reserved_in_keys_and_expressions(name: str) -> None:
    assert "reserved" in problems(table(primary_key=["id", name]), TableConfig)["primary_key.1"]
    refused = problems(raw(marts=mart(join("queue"), expressions={name: "1"})))
    assert refused.keys() == {f"marts.m.expressions.{name}"}


def test_a_column_that_only_resembles_a_lineage_column_is_free() -> None:
    assert TableConfig.model_validate(table(cursor="_run_id_2")).cursor == "_run_id_2"


def test_an_excluded_column_cannot_be_key_or_cursor() -> None:
    refused = problems(table(primary_key=["a", "b"], cursor="c", exclude=["b", "c", "d"]), TableConfig)
    assert refused.keys() == {"primary_key.1", "cursor"}


@pytest.mark.parametrize("kind", ["sql", "rest"])
def test_a_catalog_with_an_address_must_have_one(kind: str) -> None:
    assert problems(raw(catalog={"type": kind, "warehouse": "w"})).keys() == {"catalog.uri"}


def test_numbers_and_booleans_in_properties_become_text() -> None:
    properties = {"a": True, "b": 200, "c": 0.5, "d": "x"}
    config = Config.model_validate(raw(spark={"properties": properties}))
    assert config.spark.properties == {"a": "true", "b": "200", "c": "0.5", "d": "x"}


def test_join_columns_become_pairs_of_parent_and_joined() -> None:
    assert JoinConfig.model_validate(join("queue", on=["a", "b"])).on == (("a", "a"), ("b", "b"))
    assert JoinConfig.model_validate(join("queue", on={"a": "b"})).on == (("a", "b"),)


@pytest.mark.parametrize("on", [[], {}, "id", [""], None])
def test_a_join_without_columns_is_refused(on: object) -> None:
    assert any(path.startswith("on") for path in problems(join("queue", on=on), JoinConfig))


# --- settings that contradict each other


@pytest.mark.parametrize(
    ("marts", "path", "words"),
    [
        (mart(join("queu")), "marts.m.joins.0.table", "did you mean 'queue'?"),
        (mart(join("old")), "marts.m.joins.0.table", "not enabled"),
        (mart(join("queue"), join("queue")), "marts.m.joins.1.table", "already in this mart"),
        (mart(join("account")), "marts.m.joins.0.table", "already in this mart"),
        (mart(join("queue", to="queue")), "marts.m.joins.0.to", "not joined earlier"),
        (mart(join("queue"), require=["account", "acount"]), "marts.m.require.1", "did you mean 'account'?"),
        (mart(join("queue"), require=["old"]), "marts.m.require.0", "not enabled"),
        (mart(join("queue"), **{"from": "x"}), "marts.m.from", "there is no table 'x'; known here"),
        (mart(), "marts.m.joins", "at least one"),
        ({"queue": mart(join("queue"))["m"]}, "marts.queue", "same Iceberg table as tables.queue"),
        ({"QUEUE": mart(join("queue"))["m"]}, "marts.QUEUE", "case makes no difference"),
    ],
)
def test_a_mart_that_names_what_it_cannot_join_is_refused(
    marts: dict[str, Any], path: str, words: str
) -> None:
    refused = problems(raw(marts=marts))
    assert refused.keys() == {path}
    assert words in refused[path]


def test_a_join_may_name_any_table_joined_earlier_as_its_parent() -> None:
    tables = {name: table() for name in ("account", "queue", "risk")}
    marts = mart(join("queue"), join("risk", to="account"))
    assert Config.model_validate(raw(tables=tables, marts=marts)).marts["m"].joins[1].to == "account"


def test_a_table_of_an_unknown_source_is_refused() -> None:
    assert "did you mean 'prd'?" in problems(raw(tables={"a": table(source="prod")}))["tables.a.source"]


def test_two_tables_that_differ_by_case_only_are_refused() -> None:
    assert problems(raw(tables={"Straße": table(), "STRASSE": table()})).keys() == {"tables.STRASSE"}


def test_all_problems_are_reported_at_once_also_those_between_wrong_settings() -> None:
    tables = {
        "account": table(source="nope", partitions=0, cursr="x"),
        "x__rejected": table(cursor_timezone="Mars"),
    }
    refused = problems(raw(version=2, database=None, tables=tables, marts=mart(join("gone", how="outer"))))
    assert refused.keys() == {
        "version",
        "database",
        "tables.account.source",
        "tables.account.partitions",
        "tables.account.cursr",
        "tables.x__rejected",
        "tables.x__rejected.cursor_timezone",
        "marts.m.joins.0.table",
        "marts.m.joins.0.how",
    }


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2)
    ),
)


@given(st.sampled_from(sorted(settings_of(Config))), JUNK)
def test_no_junk_in_any_block_causes_another_error_than_a_refusal(block: str, junk: object) -> None:
    with suppress(ValidationError):
        Config.model_validate(raw(**{block: junk}))


# --- names of tables, marts and the database


@pytest.mark.parametrize("name", ["Order Items", "größe", "_x", "a-b$1", "Заказ"])
def test_a_table_name_may_have_letters_of_any_script_outside_glue(name: str) -> None:
    assert name in Config.model_validate(raw(tables={name: table()})).tables


@pytest.mark.parametrize(
    "name", ["", "1a", "a.b", "a/b", "-a", "a`b", "a\n", 'a"', "x__rejected", "x__REJECTED", "_RUNS"]
)
def test_a_name_that_iceberg_or_the_job_cannot_use_is_refused(name: str) -> None:
    assert problems(raw(tables={name: table()})).keys() == {f"tables.{name}"}
    assert problems(raw(database=name)).keys() == {"database"}


@pytest.mark.parametrize("name", ["Account", "order items", "größe", "a-b", "1a", "a\n"])
def test_glue_allows_small_ascii_names_only(name: str) -> None:
    glue = {"type": "glue", "warehouse": "s3://bucket/"}
    assert "Glue" in problems(raw(catalog=glue, tables={name: table()}))[f"tables.{name}"]
    assert "Glue" in problems(raw(catalog=glue, database=name))["database"]


@pytest.mark.parametrize("names", [["net", "NET"], ["net\ngross"], ["x" * 256]])
def test_glue_allows_names_of_expressions_that_athena_can_have(names: list[str]) -> None:
    marts = mart(join("queue"), expressions=dict.fromkeys(names, "1"))
    Config.model_validate(raw(marts=marts))
    glue = {"type": "glue", "warehouse": "s3://bucket/"}
    assert problems(raw(catalog=glue, marts=marts)).keys() == {"marts.m.expressions"}


# --- secrets


def test_no_message_or_repr_shows_a_password() -> None:
    secret = "hunter2"
    source = {"type": "postgres", "url": f"postgresql://u:{secret}@db/prd", "password": secret}
    config = Config.model_validate(raw(sources={"prd": source}, spark={"properties": {"key": secret}}))
    assert secret not in repr(config)
    for wrong in (
        {"url": f"mysql://u:{secret}@db"},
        {"password": [secret]},
        {"pasword": secret},
        {"type": [secret]},
    ):
        with pytest.raises(ValidationError) as caught:
            Config.model_validate(raw(sources={"prd": {**source, **wrong}}))
        assert secret not in f"{caught.value!s}{caught.value!r}{caught.value.errors()}"


class SourceWithPin(PostgresSource):
    """A block with a secret that pydantic would quote."""

    pin: int = Field(default=0, repr=False)


def test_a_setting_hidden_from_repr_is_hidden_from_messages() -> None:
    settings = {"type": "postgres", "url": "postgres://db", "pin": "12 34"}
    assert problems(settings, SourceWithPin) == {"pin": "must be a whole number"}


def test_an_empty_password_counts_as_none() -> None:
    source = {"type": "postgres", "url": "postgres://db/prd", "password": "", "user": ""}
    prd = Config.model_validate(raw(sources={"prd": source})).sources["prd"]
    assert (prd.user, prd.password) == (None, None)


# --- the reference


def reference_rows() -> list[str]:
    """Return the table row that docs/configuration.md must have for each setting."""
    return [
        f"| `{name}` | {shown_default(field)} | {field.description} |"
        for block in blocks_below(Settings)
        if block.__module__.startswith("iceberg_datamart.")  # not those of a test, until they are collected
        for name, field in settings_of(block).items()
    ]


def blocks_below(block: type[Settings]) -> list[type[Settings]]:
    return [each for below in block.__subclasses__() for each in (below, *blocks_below(below))]


def shown_default(field: Any) -> str:
    if field.default_factory:
        return "see below"
    if field.default is PydanticUndefined:
        return "required"
    if field.default in (None, {}, ()):
        return "not set" if field.default is None else "empty"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def test_the_reference_describes_every_setting_of_every_block() -> None:
    lines = REFERENCE.read_text("utf-8").splitlines()
    missing = [row for row in reference_rows() if row not in lines]
    assert not missing, "docs/configuration.md must have these rows:\n" + "\n".join(missing)


def test_the_reference_describes_no_setting_that_does_not_exist() -> None:
    rows = [line for line in REFERENCE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert [row for row in rows if row not in reference_rows()] == []
