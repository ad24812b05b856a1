"""The exact SQL that runs: what a reviewer of a change to it sees."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from iceberg_datamart.app.settings_file import default_config_text, parse_config
from iceberg_datamart.core.changes import Lineage, Merge
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.mart.arms import Delta, Taken, changed_keys_sql, joined_arms, restricted_sql
from iceberg_datamart.core.mart.shape import MartShape, MirrorShape, mart_shape
from iceberg_datamart.core.settings.model import MartConfig, TableConfig
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.core.sql.bounds import within
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql
from iceberg_datamart.core.sql.keys import Batch, deduplicated_sql, without_older_sql
from iceberg_datamart.core.sql.merge import merge_sql
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.sources.postgres import catalog, rejects, widths
from iceberg_datamart.sources.postgres import settings as postgres_settings
from iceberg_datamart.sources.postgres.point import Point
from iceberg_datamart.sources.postgres.table import PostgresTable
from iceberg_datamart.sources.postgres.table_sql import TableSql
from iceberg_datamart.sources.postgres.types import PostgresColumn, wire
from support.oracles.golden_files import check

KEY, COLUMNS = ["queue_id"], ["queue_id", "account_id", "name", "updated_at"]
CLAUSES = re.compile(
    r" (?=(?:FROM|LEFT JOIN|FULL OUTER JOIN|INNER JOIN|ON|WHERE|WHEN MATCHED|WHEN NOT MATCHED|USING|UNION)\b)"
)
POSTGRES_CLAUSES = re.compile(r"(?<=,) (?=\"|case |\(case|ctid|coalesce)| (?=from \"public\"|where )")


def laid_out(text: str) -> str:
    """Return the text with a line for each clause; nothing but spaces changes."""
    return CLAUSES.sub("\n", text)


def mirrors() -> dict[str, MirrorShape]:
    """Return the five tables of the shipped mart, each with a column that the others have as well."""
    keys = {"account": "account_id", "account_metadata": "account_id", "account_risk": "account_id"}
    shapes = {name: MirrorShape((key, "updated_at"), (key,)) for name, key in keys.items()}
    return shapes | {
        "queue": MirrorShape(("queue_id", "account_id", "updated_at"), ("queue_id",)),
        "settlement_transaction": MirrorShape(
            ("transaction_id", "queue_id", "created_at"), ("transaction_id",)
        ),
    }


def shipped(how: str = "inner") -> MartShape:
    """Return the shipped mart, its last join of the kind `how`."""
    config = parse_config(default_config_text(), {}, "default.yaml").marts["account_settlements"]
    plain = config.model_dump(by_alias=True)
    plain["joins"][-1]["how"] = how
    return mart_shape("account_settlements", MartConfig.model_validate(plain), mirrors())


def test_the_changeset_of_a_window() -> None:
    bounds = within(SPARK, Column("queue_id", "long"), [(7, 9), (500, 500)])
    text = changeset_sql(
        SPARK,
        Sides(new="`batch`", old="`lake`.`db`.`queue`", key=KEY, columns=COLUMNS, bounds=bounds),
        full=False,
    )
    check("changeset_of_a_window.sql", laid_out(text))


def test_the_changeset_of_a_full_load_with_soft_deletes() -> None:
    text = changeset_sql(
        SPARK,
        Sides(
            new="`batch`", old="`lake`.`db`.`queue`", key=KEY, columns=COLUMNS, deleted="_datamart_deleted"
        ),
        full=True,
    )
    check("changeset_of_a_full_load.sql", laid_out(text))


def test_the_merge() -> None:
    changes = Merge(
        "queue",
        relation="`changes_of_queue`",
        key=KEY,
        columns=COLUMNS,
        lineage=Lineage("20260301T120000.000000Z-1a2b3c4d", datetime(2026, 3, 1, 12, tzinfo=timezone.utc)),
        absent=[Column("old_column", "string")],
        bounds=within(SPARK, Column("queue_id", "long"), [(7, 9), (500, 500)]),
    )
    check("merge.sql", laid_out(merge_sql(SPARK, "`lake`.`db`.`queue`", changes)))


def test_one_row_a_key() -> None:
    check(
        "one_row_a_key.sql", laid_out(deduplicated_sql(SPARK, Batch("`batch`", KEY, COLUMNS, "updated_at")))
    )


def test_no_row_older_than_the_mirrors() -> None:
    text = without_older_sql(SPARK, "`batch`", "`mirror`", KEY, "updated_at")
    check("no_row_older_than_the_mirrors.sql", laid_out(text))


@pytest.mark.parametrize("how", ["inner", "left"])
def test_the_join_of_the_shipped_mart(how: str) -> None:
    found = shipped(how)
    check(f"join_{how}.sql", laid_out(found.join_sql(SPARK, {table: f"`{table}`" for table in found.tables})))


@pytest.mark.parametrize("how", ["inner", "left"])
def test_the_mart_rows_that_two_changed_tables_touch(how: str) -> None:
    found = shipped(how)
    arms = []
    for name in ("queue", "settlement_transaction"):
        node = next(node for node in found.nodes if node.table == name)
        delta = Delta(f"`{name}`@now", f"`{name}`@before", ("run-1", "run-2"), deletes=True)
        arms.append(
            found.arm(SPARK, name, delta, f"({changed_keys_sql(SPARK, delta, node.shape.primary_key)})")
        )
    taken = [Taken(arm.outputs, (), (), f"({arm.keys})") for arm in joined_arms(arms)]
    check(
        f"touched_rows_{how}.sql",
        laid_out(restricted_sql(SPARK, "`mart`", ["queue_id", "transaction_id"], taken)),
    )


# --- PostgreSQL

SERVER_COLUMNS = (
    PostgresColumn("transaction_id", "int8", not_null=True),
    PostgresColumn("amount", "numeric", not_null=True, precision=18, scale=2),
    PostgresColumn("fee", "numeric", not_null=False),
    PostgresColumn("currency", "bpchar", not_null=True),
    PostgresColumn("reference", "uuid", not_null=True),
    PostgresColumn("tags", "_text", not_null=False, element="text", dimensions=1),
    PostgresColumn("settled on", "date", not_null=False),
    PostgresColumn("seen_at", "timestamp", not_null=False),
    PostgresColumn("created_at", "timestamptz", not_null=True),
)


def settlement(**settings: Any) -> PostgresTable:
    """Return a described table of a session without a server."""
    config = TableConfig.model_validate({"source": "prd", "from": "public.settlement", **settings})
    configured = {name: column.type for name, column in config.columns.items()}
    wires = tuple(found for c in SERVER_COLUMNS if (found := wire(c, configured.get(c.name))) is not None)
    columns = tuple(Column(c.name, w.type) for c, w in zip(SERVER_COLUMNS, wires, strict=True))
    facts = SourceTable("id", columns, ("transaction_id",), True, CursorKind.TIMESTAMPTZ)
    relation = catalog.Relation(7, "public", "settlement", "r", 40_000, has_ctid=True)
    cursor = ("created_at", CursorKind.TIMESTAMPTZ)
    unfits = rejects.unfits_of(SERVER_COLUMNS, wires, ["transaction_id"])
    width = widths.row_width(SERVER_COLUMNS, wires)
    point = Point.__new__(Point)
    point._url, point._credentials, point._snapshot = "jdbc:", {}, "00000003-0000001B-1"
    point._parameters = {}
    point._recipe = postgres_settings.settings(170_000)
    return PostgresTable(point, TableSql(facts, relation, wires, config, cursor, width, unfits))


FEE = {"fee": {"type": "decimal(10,4)"}}


def statement(text: str) -> str:
    """Return the text with a line for each column and clause; nothing but spaces changes."""
    return POSTGRES_CLAUSES.sub("\n", text)


def test_the_select_of_a_window_in_postgresql() -> None:
    window = ReadWindow(Watermark(CursorKind.TIMESTAMPTZ, 1_772_366_400_000_001))
    read = settlement(columns=FEE).read(window)
    check("postgres_window.sql", statement(read.relation))
    assert read.predicates == ("true",)


def test_the_select_of_a_full_load_in_postgresql() -> None:
    read = settlement(columns=FEE, soft_delete="currency = 'XXX'").read(ReadWindow())
    check("postgres_full_load.sql", "\n".join([statement(read.relation), *read.predicates, read.session]))
