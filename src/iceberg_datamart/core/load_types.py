"""The ways in which a table is read, as commands take them and snapshots record them."""

FULL, INCREMENTAL, RECONCILE = "full", "incremental", "reconcile"
# Reads everything as an incremental run would, so that no delete is found: for columns that are new.
BACKFILL = "backfill"
# What a mart's commit records instead.
MART = "mart"
# What a commit of `maintain` counts as: it compared no row.
MAINTAIN = "maintain"
# After these a mirror holds exactly what its source held, deletes included.
WHOLE = frozenset({FULL, RECONCILE})
# These compare every row. Of marts any commit does, where another tool came before it.
COMPARES_ALL = WHOLE | {MART}
# These find what no cursor tells of; a rollback undoes that, and an incremental run finds it no more.
FINDS_ALL = WHOLE | {BACKFILL}
