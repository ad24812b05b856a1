"""Columns with names that a mirror cannot have are refused before anything is read."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.engines import SPARK, EngineChoice
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
from iceberg_datamart.core.plan.planner import plan_table
from iceberg_datamart.core.plan.schema import same_in_files
from iceberg_datamart.core.plan.steps import MergeWindow, Refuse
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.core.state.history import TableHistory
from iceberg_datamart.core.state.watermark import Horizon
from iceberg_datamart.errors import SchemaChangeError
from support.fakes.ports import configured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.settings.model import Config

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
GLUE = {"catalog": {"type": "glue", "warehouse": "s3://bucket/datamart/"}}


def planned(config: Config, *names: str, held: Mapping[str, str] | None = None) -> MergeWindow | Refuse:
    """Return the plan for a source with such columns of text, and for a mirror that holds others."""
    mirror = None if held is None else TableHistory({"id": "long", **held}, ("id",), ())
    columns = (Column("id", "long", nullable=False), *(Column(name, "string") for name in names))
    source = SourceTable("fake:1/prd/7", columns, ("id",), True, CursorKind.TIMESTAMPTZ)
    facts = Facts(None, {"queue": TableFacts(source, mirror, Horizon(NOON, NOON))})
    return plan_table("queue", config, facts, RunRequest())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["_run_id"], "'_run_id', a name that mirrors need"),
        (["_merged_at"], "'_merged_at', a name that mirrors need"),
        (["a b", "a_x20b"], "the same name in Parquet files"),
        (["1a", "_1a"], "'1a' and '_1a' would have the same name in Parquet files"),
    ],
)
def test_what_no_mirror_can_have_is_refused(names: list[str], words: str) -> None:
    step = planned(configured("queue"), *names)
    assert isinstance(step, Refuse)
    assert isinstance(step.error, SchemaChangeError)
    assert words in step.error.message
    assert "tables.queue.exclude" in step.error.hint


@pytest.mark.parametrize(
    ("names", "words"),
    [(["name", "NAME"], "'name' and 'NAME' differ by case alone"), (["two\nlines"], "is not one line")],
)
def test_what_glue_and_athena_cannot_have_is_refused_in_a_glue_catalog_alone(
    names: list[str], words: str
) -> None:
    assert isinstance(planned(configured("queue"), *names), MergeWindow)
    step = planned(configured("queue", **GLUE), *names)
    assert isinstance(step, Refuse)
    assert words in step.error.message
    assert "tables.queue.exclude" in step.error.hint


def test_of_a_key_column_that_no_mirror_can_have_no_one_says_to_exclude_it() -> None:
    columns = (Column("_datamart_old", "long", nullable=False), Column("v", "string"))
    source = SourceTable("fake:1/prd/7", columns, ("_datamart_old",), True, CursorKind.TIMESTAMPTZ)
    facts = Facts(None, {"queue": TableFacts(source, None, Horizon(NOON, NOON))})
    step = plan_table("queue", configured("queue"), facts, RunRequest())
    assert isinstance(step, Refuse)
    assert "'_datamart_old', a name that mirrors need" in step.error.message
    assert "view in tables.queue.from" in step.error.hint


@pytest.mark.parametrize(
    ("name", "held"), [("a_x20b", {"a b": "string"}), ("tags.element", {"tags": "list<string>"})]
)
def test_a_name_that_the_mirror_cannot_have_beside_a_column_that_is_gone_is_refused_with_the_ways_out(
    name: str, held: dict[str, str]
) -> None:
    step = planned(configured("queue"), name, held=held)
    assert isinstance(step, Refuse)
    assert "the same name in Parquet files" in step.error.message
    assert f"The source has '{next(iter(held))}' no more" in step.error.hint
    assert isinstance(planned(configured("queue"), "other", held=held), MergeWindow)


def test_names_that_differ_by_case_alone_need_spark_also_if_the_source_has_one_of_them_no_more() -> None:
    step = planned(configured("queue"), "name", held={"NAME": "string"})
    assert isinstance(step, MergeWindow)
    assert isinstance(step.engine, EngineChoice)
    assert step.engine == EngineChoice(SPARK, "'queue' has columns 'NAME' and 'name', one name in process")


def test_a_lists_elements_have_a_name_that_no_column_may_have() -> None:
    columns = [Column("tags", "list<string>"), Column("tags.element", "string")]
    assert same_in_files(columns) == ("tags", "tags.element")
    assert same_in_files([Column("tags", "string"), Column("tags.element", "string")]) is None
