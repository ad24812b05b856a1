"""Random statements of administrators: tables that change as a whole, and what sessions begin with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.fuzz.kinds import BY_SQL, KINDS, text
from support.fuzz.schemas import quoted
from support.fuzz.statements import Statements

if TYPE_CHECKING:
    from support.fuzz.schemas import Table

# What a role or database may have as its default, for whoever connects next.
DEFAULTS = (
    *(
        "timezone = 'Asia/Kolkata'",
        "timezone = 'America/New_York'",
        "datestyle = 'SQL, DMY'",
        "datestyle = 'German'",
    ),
    *(
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "array_nulls = off",
    ),
    *(
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "default_transaction_read_only = on",
    ),
    *(
        "default_transaction_isolation = 'serializable'",
        "search_path = 'nowhere'",
        "client_encoding = 'LATIN1'",
    ),
    *("quote_all_identifiers = on", "work_mem = '64kB'", "enable_seqscan = off", "row_security = off"),
)
ALTERS = (
    "add",
    "drop",
    "rename",
    "widen",
    "rewrite",
    "make_illegal",
    "recreate",
    "relabel",
    "move_partition",
    "replace_view",
    "vacuum",
)
_REWRITES = {
    "int4": "{c} / 2",
    "text": "reverse({c})",
    "bool": "not {c}",
    "int8": "-({c} / 3)",
    "date": "{c}",
}
_ILLEGAL = ("int4", "int8", "bool", "date", "float8")


@dataclass
class Alterations(Statements):
    """Writes and alters tables of a source, of which `tables` are all."""

    tables: list[Table] = field(default_factory=list)
    relabelled: bool = False

    def alter(self, table: Table) -> None:
        """Change the table itself, unless it has to be refused as it is."""
        if table.remedy is not None:
            return
        if any(table.columns[name].unfit for name in table.columns):
            self.correct(table)
        self._some_of(ALTERS, table)

    def default(self, database: str, role: str) -> None:
        """Change what sessions begin with."""
        whose = self.dice.choice([f"role {quoted(role)}", f"database {quoted(database)}"])
        change = self.dice.choice(["reset all", *(f"set {default}" for default in DEFAULTS)])
        self.say(f"alter {whose} {change}")

    def add(self, table: Table) -> None:
        if table.layout != "view" and table.free:
            name, kind = table.free.pop(), self.dice.choice(KINDS)
            default = self.dice.choice(["", f" default ({kind.value(self.dice)})::{kind.sql}"])
            self.say(f"alter table {table.place} add {quoted(name)} {kind.sql}{default}")
            table.columns[name] = kind
            table.exact = True

    def drop(self, table: Table) -> None:
        for name in self._loose(table)[:1]:
            self.say(f"alter table {table.place} drop {quoted(name)}")
            del table.columns[name]

    def rename(self, table: Table) -> None:
        for name in self._loose(table)[:1]:
            if table.free:
                new = table.free.pop()
                self.say(f"alter table {table.place} rename {quoted(name)} to {quoted(new)}")
                # In its place, since rows are given to COPY by position.
                table.columns = {new if old == name else old: kind for old, kind in table.columns.items()}
                table.exact = True

    def widen(self, table: Table) -> None:
        for name in [name for name in self._loose(table) if table.columns[name].wider][:1]:
            table.columns[name] = BY_SQL[table.columns[name].wider or ""]
            self.say(f"alter table {table.place} alter {quoted(name)} type {table.columns[name].sql}")

    def rewrite(self, table: Table) -> None:
        """Change all values of a column by DDL, and no cursor."""
        for name in [
            name for name in table.plain if table.columns[name].sql in _REWRITES and table.layout != "view"
        ][:1]:
            kind = table.columns[name]
            using = _REWRITES[kind.sql].format(c=quoted(name))
            self.say(f"alter table {table.place} alter {quoted(name)} type {kind.sql} using {using}")
            table.exact = True

    def make_illegal(self, table: Table) -> None:
        """Change a type as no mirror can follow; once the column is gone, the table is read again."""
        for name in [name for name in self._loose(table) if table.columns[name].sql in _ILLEGAL][:1]:
            column = quoted(name)
            self.say(f"alter table {table.place} alter {column} type text using {column}::text")
            del table.columns[name]
            table.illegal, table.remedy = name, f"alter table {table.place} drop {column}"
            table.exact = True

    def recreate(self, table: Table) -> None:
        """Put a table of the same rows in its place, which is another source."""
        if table.layout == "plain" and (table.cursor is None or table.columns[table.cursor].sql != "int8"):
            self.say(f"create table {table.part('new')} (like {table.place} including all)")
            self.say(f"insert into {table.part('new')} select * from {table.place}")
            self.say(f"drop table {table.place}")
            self.say(f"alter table {table.part('new')} rename to {quoted(table.relation)}")
            table.remedy, table.illegal, table.exact = "--accept-new-source", table.key[0], True

    def relabel(self, table: Table) -> None:
        """Rename a value of the enum, which changes rows of all tables that have it."""
        old, new = ("so so!", "so so") if self.relabelled else ("so so", "so so!")
        labelled = [one for one in self.tables if any(kind.sql == "mood" for kind in one.columns.values())]
        if table in labelled:
            for one in labelled:
                one.exact = True
            self.say(f"alter type mood rename value {text(old)} to {text(new)}")
            self.relabelled = not self.relabelled

    def move_partition(self, table: Table) -> None:
        """Take a partition away, change rows in it, or bring it back."""
        if table.layout == "partitioned":
            name = self.dice.choice(["low", "mid", "high"])
            if name in table.detached:
                for column in table.plain[:1]:
                    value = f"({table.value(self.dice, column)})::{table.columns[column].sql}"
                    self.say(f"update {table.part(name)} set {quoted(column)} = {value}")
                self.say(
                    f"alter table {table.place} attach partition {table.part(name)} {table.bounds(name)}"
                )
                table.detached.remove(name)
            elif not table.detached:
                self.say(f"alter table {table.place} detach partition {table.part(name)}")
                table.detached.add(name)
            table.exact = True

    def replace_view(self, table: Table) -> None:
        if table.layout == "view":
            table.turned = not table.turned
            self.say(table.view())
            table.exact = True

    def exclude(self, table: Table) -> None:
        """Read a column no more, or read it again; which the settings say, no statement."""
        if table.excluded:
            self.correct(table)
            table.columns |= table.excluded
            table.excluded = {}
            table.exact = True
            return
        self.correct(table)
        for name in self._loose(table)[:1]:
            table.excluded = {name: table.columns.pop(name)}

    def vacuum(self, table: Table) -> None:
        self.say(f"vacuum {self.dice.choice(['', 'full '])}{table.written}")

    def _loose(self, table: Table) -> list[str]:
        """Return the columns that no setting names, in a random order."""
        names = [name for name in table.plain if name not in table.pinned and table.layout != "view"]
        return self.dice.sample(names, len(names))
