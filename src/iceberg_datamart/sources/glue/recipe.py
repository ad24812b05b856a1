"""What the Glue catalog says of how a table's files are read, recorded with the rows (R19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.source.recipe import with_hidden

if TYPE_CHECKING:
    from iceberg_datamart.sources.glue.catalog import GlueTable
    from iceberg_datamart.sources.glue.formats import FileForm


def recipe_of(found: GlueTable, form: FileForm) -> dict[str, str]:
    """Return what decides which values the files' rows have, but for the files themselves.

    Partitions come and go with their files: only which columns they stand for counts.
    """
    stored = ", ".join(f"{name} {kind}" for name, kind in found.columns)
    parts = ", ".join(f"{name} {kind}" for name, kind in found.partition_columns)
    # A schema of Avro may be a page long.
    serde = ", ".join(f"{name}={value[:40]!r}" for name, value in sorted(found.serde.items()))
    told = (sorted(form.options.items()), form.encoding, form.null, form.escape)
    return {
        "the location": found.location,
        "the classification": found.classification,
        "the columns in the catalog": with_hidden(f"({stored})", found.columns),
        "the partition columns": with_hidden(f"({parts})", found.partition_columns),
        "the SerDe": with_hidden(
            f"{found.library or 'not named'} ({serde})", found.library, sorted(found.serde.items()), told
        ),
    }
