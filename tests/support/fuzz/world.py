"""One random schema with its lake: statements, runs and reconciles, and PostgreSQL's word after each."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from support.fuzz.alterations import Alterations
from support.fuzz.judge import Judge, WrongError
from support.fuzz.kinds import TYPES
from support.fuzz.marts import random_marts
from support.fuzz.schemas import MIRRORS, NAMES, quoted, random_table

if TYPE_CHECKING:
    import psycopg

    from support.fuzz.marts import Mart
    from support.fuzz.schemas import Table
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

_TABLES, _ROUNDS = 4, 6
_TRY_AGAIN = 75
ROLE, PASSWORD = "fuzz_reader", "fuzz"


@dataclass
class World:
    """A source and its lake. `tally` counts what was done; of a table refused twice, no more is asked."""

    laptop: Laptop
    connection: Connection
    other: Connection
    database: str
    seed: int
    tally: Counter[str]
    tables: list[Table] = field(default_factory=list)
    marts: list[Mart] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    remedies: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the source and the settings."""
        self.dice = random.Random(self.seed)  # noqa: S311  (repeatable on purpose)
        names = self.dice.sample(NAMES, len(NAMES))
        # As many again, since a schema takes more than there are.
        names = [f"{name[:55]}{number or ''}" for number in (2, 1, 0) for name in names]
        mirrors = self.dice.sample(MIRRORS, len(MIRRORS))
        for number in range(_TABLES):
            parent = self.dice.choice(self.tables) if 0 < number < _TABLES - 1 else None
            self.tables.append(random_table(self.dice, number, names, mirrors, parent))
        self.marts = random_marts(self.dice, self.tables)
        self.people = Alterations(self.connection, self.other, self.dice, self.tally, tables=self.tables)
        self._open()
        self.judge = Judge(self.connection, self.laptop, self.tally)
        self.tally["schemas"] += 1

    def play(self) -> None:
        """Play to the end. Raises: WrongError, with all that was done."""
        try:
            self.run("run")
            for _ in range(_ROUNDS):
                self.round()
            self.run("reconcile")
            self.run("run")
        except AssertionError as error:
            script = ";\n".join(self.people.script)
            settings = json.dumps(self.laptop.settings, ensure_ascii=False)
            raise WrongError(f"SEED={self.seed}: {error}\n{settings}\n{script}") from error

    def round(self) -> None:
        """Let people write, then run."""
        for _ in range(self.dice.randint(2, 7)):
            self.people.write(self.dice.choice(self.tables))
        if self.dice.random() < 0.5:
            self.people.alter(self.dice.choice(self.tables))
        if self.dice.random() < 0.3:
            self.people.default(self.database, ROLE)
        if self.dice.random() < 0.3:
            self._set_otherwise()
        chosen = self.dice.choice(
            [(), (), (), ("--load-type", "full"), ("--table", self.dice.choice(self.tables).name)]
        )
        with self.people.late(self.dice.choice(self.tables)):
            self.run("run", *chosen)
        while self.remedies:  # DDL would wait for the transaction that was open
            remedy = self.remedies.pop()
            if remedy.startswith("--"):
                self.run("run", remedy)
            else:
                self.people.say(remedy)
        if self.dice.random() < 0.3:
            self.run("reconcile")
            self.run("run")

    def run(self, verb: str, *arguments: str) -> None:
        """Run, and judge every table that was read; one that was refused must be as it was."""
        whole = verb == "reconcile" or "full" in arguments
        self.people.script.append(f"-- {verb} {' '.join(arguments)}")
        before = self._places()
        parts = self._parts(verb, *arguments)
        errors = {name: part["error"] for name, part in parts.items() if part["error"]}
        after = self._places()
        for name, error in errors.items():
            if before[name] != after[name] or not error["message"] or not error["hint"]:
                raise WrongError(f"{name}: refused, and written or without a fix: {error}")
        good = {name for name, part in parts.items() if part["outcome"] in {"merged", "unchanged"}}
        for table in [table for table in self.tables if table.name in good]:
            if table.remedy is not None and table.illegal in self.judge.held.get(table.name, ()):
                raise WrongError(f"{table.name}: followed what no mirror can: {table.illegal}")
            self.judge.mirror(table, exact=whole)
            if whole:
                self.people.untrick(table)
        for mart in [mart for mart in self.marts if mart.name in good]:
            self.judge.mart(mart)
        self._answer(errors)

    def _parts(self, verb: str, *arguments: str) -> dict[str, Any]:
        """Run, once more where that is what the exit code says, and return what it reports of each table."""
        ended = self.laptop.command(verb, *arguments)
        if ended.exit_code == _TRY_AGAIN:
            self.tally["runs to try again"] += 1
            ended = self.laptop.command(verb, *arguments)
        self.tally["reconciles" if verb == "reconcile" else "runs"] += 1
        report = ended.report
        parts: dict[str, Any] = {**report.get("tables", {}), **report.get("marts", {})}
        failed = any(part["error"] for part in parts.values())
        if report.get("error") or (ended.exit_code != 0) != failed:
            raise WrongError(f"exit code {ended.exit_code}: {report.get('error')}\n{ended.stderr[-3000:]}")
        return parts

    def _answer(self, errors: dict[str, Any]) -> None:
        """Do what people do about a refusal: take its reason away, or leave the table out."""
        for name, error in errors.items():
            self.tally["refusals"] += 1
            self.tally[f"refused: {error['message'][:110]}"] += 1
            self.refused[name] += 1
            table = next((table for table in self.tables if table.name == name), None)
            if table is not None and table.remedy is not None:
                self.remedies.append(table.remedy)
                table.remedy = table.illegal = None
            elif self.refused[name] > 1 or table is None:
                self._leave_out(name)

    def _leave_out(self, name: str) -> None:
        left = [mart for mart in self.marts if name in {mart.name, *(table.name for table in mart.tables)}]
        self.marts = [mart for mart in self.marts if mart not in left]
        for mart in left:
            del self.laptop.settings["marts"][mart.name]
        if len(self.tables) > 1 and name in self.laptop.settings["tables"]:
            self.people.tables[:] = [table for table in self.tables if table.name != name]
            del self.laptop.settings["tables"][name]
        self.laptop.save()

    def _set_otherwise(self) -> None:
        """Change the settings: how a mart joins, or which columns are read."""
        if self.marts and self.dice.random() < 0.5:
            mart = self.dice.choice(self.marts)
            mart.joins[-1] = replace(mart.joins[-1], how=self.dice.choice(["inner", "left"]))
            self.laptop.settings["marts"][mart.name] = _escaped(mart.settings())
        else:
            self.people.exclude(self.dice.choice(self.tables))
            for table in self.tables:
                self.laptop.settings["tables"][table.name] = {"source": "prd"} | _escaped(table.settings())
        self.laptop.save()

    def _open(self) -> None:
        say = self.people.say
        if not say(f"select 1 from pg_roles where rolname = '{ROLE}'"):
            say(f"create role {ROLE} login password '{PASSWORD}' in role pg_read_all_data, pg_read_all_stats")
        say(f"alter role {ROLE} reset all")
        for statement in TYPES.split(";"):
            say(statement)
        for table in self.tables:
            say(f"create schema {quoted(table.schema)}")
            for statement in table.create(self.dice):
                say(statement)
        tables = {table.name: _escaped(table.settings()) for table in self.tables}
        for table in self.tables:
            table.hidden.clear()
        marts = {mart.name: _escaped(mart.settings()) for mart in self.marts}
        server, _, _ = self.laptop.url.rpartition("/")
        host = server.rpartition("@")[2]
        self.laptop.url = f"postgresql://{ROLE}:{PASSWORD}@{host}/{self.database}"
        self.laptop.configure(tables, marts)

    def _places(self) -> dict[str, str | None]:
        """Return the metadata files of all tables, which any commit replaces."""
        return {
            name: self._place(name)
            for name in (*self.laptop.settings["tables"], *self.laptop.settings["marts"])
        }

    def _place(self, name: str) -> str | None:
        from pyiceberg.exceptions import NoSuchTableError  # noqa: PLC0415

        try:
            return self.laptop.table(name).metadata_location
        except NoSuchTableError:
            return None


def _escaped(value: Any) -> Any:
    """Return settings in which no text is taken for a variable of the environment."""
    if isinstance(value, dict):
        return {name: _escaped(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
