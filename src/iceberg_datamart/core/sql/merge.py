"""The MERGE that applies a changeset, for engines that have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import microseconds
from iceberg_datamart.core.sql.dialect import matching
from iceberg_datamart.core.sql.reserved import CHANGE, DELETE, INSERT, MERGED_AT, NEW, OLD, RUN_ID

if TYPE_CHECKING:
    from iceberg_datamart.core.changes import Lineage, Merge
    from iceberg_datamart.core.sql.dialect import Dialect


def merge_sql(dialect: Dialect, target: str, merge: Merge) -> str:
    """Return the MERGE that applies a changeset. Every column is named: Iceberg 1.0 demands it.

    Its bounds prune files: Iceberg scans the whole target without literal bounds in ON. Run id and time are
    literals: nothing nondeterministic may stand in a MERGE (iceberg issue 14585). Absent columns are NULL in
    new rows, kept in others. An insert matches nothing: of a key that is replaced, the delete takes all rows
    that are there. Keys match null-safely: what the table holds decides, which may have been written under
    other settings.
    """
    quoted = dialect.quoted
    values = {name: f"{NEW}.{quoted(name)}" for name in merge.columns}
    values |= lineage_values(dialect, merge.lineage)
    changed = (name for name in values if name not in merge.key)
    sets = ", ".join(f"{OLD}.{quoted(name)} = {values[name]}" for name in changed)
    inserted = values | {column.name: "NULL" for column in merge.absent}
    names = ", ".join(quoted(name) for name in inserted)
    return (
        f"MERGE INTO {target} AS {OLD} USING {merge.relation} AS {NEW} "
        f"ON {merge.bounds} AND {matching(dialect, merge.key, OLD, NEW, null_safe=True)} AND "
        f"{NEW}.{CHANGE} <> '{INSERT}' "
        f"WHEN MATCHED AND {NEW}.{CHANGE} = '{DELETE}' THEN DELETE "
        f"WHEN MATCHED THEN UPDATE SET {sets} "
        f"WHEN NOT MATCHED AND {NEW}.{CHANGE} <> '{DELETE}' "
        f"THEN INSERT ({names}) VALUES ({', '.join(inserted.values())})"
    )


def lineage_values(dialect: Dialect, lineage: Lineage) -> dict[str, str]:
    """Return the lineage columns and their values as literals."""
    merged_at = dialect.literal(microseconds(lineage.merged_at), "timestamptz")
    return {RUN_ID: dialect.literal(lineage.run_id), MERGED_AT: merged_at}
