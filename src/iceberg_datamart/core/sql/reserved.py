"""Names that no column of a mirror or mart may have, and what they stand for in our SQL."""

from __future__ import annotations

from iceberg_datamart.core.columns import Column

RUN_ID = "_run_id"
MERGED_AT = "_merged_at"
LINEAGE = (Column(RUN_ID, "string"), Column(MERGED_AT, "timestamptz"))
LINEAGE_NAMES = frozenset(column.name for column in LINEAGE)
# Aliases of relations. No column can have these names: of a column `x`, `x.id` would be a field.
NEW, OLD = "_datamart_new", "_datamart_old"
ROW, OTHER = "_datamart_row", "_datamart_other"
# What becomes of a changed row.
CHANGE = "_datamart_change"
INSERT, UPDATE, DELETE = "insert", "update", "delete"
# Of a key that the table holds more than once: all of them go, and one row comes.
REPLACE = "replace"
# How many rows of the table have the key of a changed row; 0 for a new one.
COPIES = "_datamart_copies"
# The number of a row among those of its key.
PLACE = "_datamart_place"
# Names of Iceberg's metadata columns: https://iceberg.apache.org/spec/#reserved-field-ids
_METADATA = frozenset(
    {
        *("_file", "_pos", "_deleted", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number"),
        *("_change_type", "_change_ordinal", "_commit_snapshot_id"),
    }
)


def is_taken(column: str) -> bool:
    """Return whether a mirror cannot have a column of this name beside its own and Iceberg's."""
    # In lower case: to Spark two names that differ in case alone are one.
    name = column.lower()
    return name in LINEAGE_NAMES | _METADATA or name.startswith("_datamart_")
