"""How a table lies in its files, as its metadata tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True)
class LaidFile:
    """A data file: its bytes, its rows, how many of these are deleted, and by how many delete files.

    A delete file that names several data files counts for each of them; its rows are taken for shared evenly.
    """

    path: str
    size: int
    rows: int
    partition: str = ""
    deleted: float = 0
    delete_files: int = 0


@dataclass(frozen=True)
class Layout:
    """The files of a table's current snapshot, and what else its metadata name.

    `deletes` are the files of position deletes, and which data files each of them may touch: none, where
    those are gone. `target` is how large a data file is to be. `manifests` counts them, and `small_manifests`
    those that are worth merging. `named` are the snapshots of tags and branches, with all that these go back
    to. `obstacle` is why Spark alone can write the files anew.
    """

    data: tuple[LaidFile, ...] = ()
    deletes: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    manifests: int = 0
    small_manifests: int = 0
    target: int = 512 * 1024 * 1024
    named: AbstractSet[int] = field(default_factory=frozenset)
    obstacle: str | None = None


@dataclass(frozen=True)
class Rewrite:
    """The same rows in other files: `data` files are written together, without their deleted rows.

    The delete files `deletes` go, too: what they say of other data files is written into one file for each.
    All manifests are written anew. `base` is the snapshot that this was planned for, `order` the columns by
    which rows are sorted, `schema_id` that of the columns that the table had.
    """

    table: str
    base: int
    data: AbstractSet[str] = field(default_factory=frozenset)
    deletes: AbstractSet[str] = field(default_factory=frozenset)
    order: tuple[str, ...] = ()
    schema_id: int | None = None
