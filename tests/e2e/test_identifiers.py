"""Names and keys of any signs work on the whole way, or are refused before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from iceberg_datamart.core.names import SourceName
from support.oracles.oracle import Mirrored, Oracle
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]

DROP = "; drop table public.canary; --"
NASTY = (
    *(
        "quote \" '",
        "back`tick %s",
        "do.t",
        "sp ace",
        " lead",
        "trail ",
        "new\nline\t",
        "back\\slash \\u0041",
    ),
    *("select", "from", "UPPER", "größe 中文 😀", "x" * 63, "1st", "a b"),
    *("per%cent %s", "{brace} {0}", "${env:HOME}", "${spark.app.name}", "?", ":colon", "$1", "$$", "@@"),
    *("semi;colon -- line", "/* block", f'"{DROP}', f"'{DROP}", f"`{DROP}", f'") as q{DROP}', f"\\'{DROP}"),
    *("value", "key", "element", "n", "t", "s", "k", "slice", "hash", "newer", "c0", "C1", "changes_of_a"),
)
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
COLUMNS = st.lists(PARTS, min_size=4, max_size=12, unique_by=str.lower)
FEW = settings(
    max_examples=1,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Named:
    """A source table whose schema, name, columns and keys are all of odd signs; two mirrors and a mart."""

    connection: Connection
    schema: str
    table: str
    columns: list[str]

    def execute(self, text: str, *values: Any) -> None:
        """Run `text` with {table}, {c0} to {c2}: two key columns, and the cursor; {} for each of `values`.

        Values stand in the text as literals: psycopg takes a % in a name for a parameter where there are any.
        """
        names = {f"c{at}": sql.Identifier(name) for at, name in enumerate(self.columns[:3])}
        table = sql.Identifier(self.schema, self.table)
        literals = map(sql.Literal, values)
        self.connection.execute(sql.SQL(text).format(*literals, table=table, **names))  # type: ignore[arg-type]

    def create(self, keys: list[str]) -> None:
        """Make the table, with each of `keys` as a value of key columns and of all others."""
        self.connection.execute(sql.SQL("create schema {}").format(sql.Identifier(self.schema)))
        others = [sql.SQL("{} text").format(sql.Identifier(name)) for name in self.columns[3:]]
        columns = sql.SQL(", ").join(
            [
                *(sql.SQL("{} text").format(sql.Identifier(name)) for name in self.columns[:2]),
                sql.SQL("{} timestamptz").format(sql.Identifier(self.columns[2])),
                *others,
                sql.SQL("primary key ({})").format(sql.SQL(", ").join(map(sql.Identifier, self.columns[:2]))),
            ]
        )
        table = sql.Identifier(self.schema, self.table)
        self.connection.execute(sql.SQL("create table {} ({})").format(table, columns))
        self.add(keys, "x")

    def add(self, keys: list[str], other: str) -> None:
        for key in keys:
            values = [key, other, *[key] * (len(self.columns) - 3)]
            places = ", ".join(["{}"] * len(values[2:]))
            comma = ", " if places else ""
            self.execute(
                f"insert into {{table}} values ({{}}, {{}}, clock_timestamp(){comma}{places})", *values
            )

    def select(self) -> str:
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        return sql.SQL("select {} from {}").format(names, sql.Identifier(self.table)).as_string(None)


def configured(laptop: Laptop, named: Named) -> Oracle:
    """Write settings of two mirrors, whose names differ by a space alone, a mart and a canary."""
    place = str(SourceName(named.schema, named.table))
    cursor = named.columns[2]
    mirrors = {name: {"from": place, "cursor": cursor} for name in ("a b", "a_b")}
    canary = {"from": "public.canary"}
    join = {"table": "a_b", "on": named.columns[:2]}
    mart = {"from": "a b", "joins": [join]}
    laptop.configure({**mirrors, "canary": canary}, {"Mart ä-$1": mart})
    return Oracle(
        named.connection,
        named.schema,
        {name: Mirrored(named.table, tuple(named.columns[:2]), named.select()) for name in mirrors},
        {},
    )


@FEW
@example(
    place=(f"sch.e\"m'a%s{DROP}"[:60], f'ta`b"l.e %{DROP}'[:60]),
    columns=list(NASTY),
    keys=[*NASTY, "k" * 3000],
)
@given(
    place=st.tuples(PARTS, PARTS),
    columns=COLUMNS,
    keys=st.lists(PARTS, min_size=2, max_size=9, unique=True),
)
def test_names_and_keys_of_any_signs_are_read_merged_and_joined(
    databases: Databases, tmp_path: Path, place: tuple[str, str], columns: list[str], keys: list[str]
) -> None:
    database = databases.new()
    folder = tmp_path / database
    folder.mkdir()
    laptop = Laptop(folder, databases.server.url(database))
    with databases.connected(database) as connection:
        named = Named(connection, f"s{place[0]}", place[1], columns)
        connection.execute("create table canary (id int primary key); insert into canary values (1)")
        named.create(keys)
        oracle = configured(laptop, named)
        laptop.run()
        oracle.check(laptop, against_source=True)
        named.add(keys, "y")
        named.execute("update {table} set {c2} = clock_timestamp() where {c1} = 'x'")
        assert laptop.run()["marts"]["Mart ä-$1"]["updated"] == len(keys)
        oracle.check(laptop, against_source=True)
        named.execute("delete from {table} where {c0} = {}", keys[-1])
        laptop.run("--load-type", "full")
        oracle.check(laptop, against_source=True)
        mart = laptop.rows("Mart ä-$1")
        assert len(mart) == 2 * len(keys) - 2
        rest = columns[2:]
        assert all(row[f"a b_{name}"] == row[f"a_b_{name}"] for row in mart for name in rest)
        assert laptop.rows("canary") == [{"id": 1}]
        ended = laptop.command("verify")
        assert ended.exit_code == 0, ended.stdout


# By a table's name: columns that cannot be together in a mirror, and what is said of the first.
TAKEN = {
    "file": (["_file"], "'_file', a name that mirrors need"),
    "run": (["_run_id"], "'_run_id', a name that mirrors need"),
    "change": (["_datamart_change"], "'_datamart_change', a name that mirrors need"),
    "space": (["a b", "a_x20b"], "'a b' and 'a_x20b' would have the same name in Parquet files"),
}


def test_names_that_cannot_work_are_refused_before_anything_is_written(
    laptop: Laptop, connection: Connection
) -> None:
    tables = {}
    for name, (taken, _) in TAKEN.items():
        tables[name] = Named(connection, f"s {name}", name, ["k", "l", "m", *taken])
        tables[name].create(["x"])
    laptop.configure(
        {name: {"from": f"s {name}.{name}", "cursor": "m"} for name in TAKEN},
        {"pairs": {"from": "file", "joins": [{"table": "run", "on": ["k", "l"]}]}},
    )
    before = laptop.files()
    report = laptop.failing_run()["tables"]
    assert laptop.files() == before
    for name, (taken, words) in TAKEN.items():
        assert words in report[name]["error"]["message"]
        assert f"tables.{name}.exclude" in report[name]["error"]["hint"]
        laptop.settings["tables"][name]["exclude"] = taken[:1]
        tables[name].columns.remove(taken[0])
    laptop.save().run()
    for name, named in tables.items():
        mirror = {name: Mirrored(name, ("k", "l"), named.select())}
        Oracle(connection, named.schema, mirror, {}).check(laptop, against_source=True)
    (pair,) = laptop.rows("pairs")
    assert (pair["k"], pair["l"]) == ("x", "x")


def test_columns_that_differ_by_case_alone_stay_apart_in_a_mirror_and_are_refused_in_a_mart(
    laptop: Laptop, connection: Connection
) -> None:
    named = Named(connection, "s", "t", ["k", "l", "m", "name", "NAME"])
    connection.execute("create table canary (id int primary key)")
    named.create(["x"])
    connection.execute("""update s.t set "NAME" = 'another', m = clock_timestamp()""")
    oracle = configured(laptop, named)
    ended = laptop.command("run")
    assert ended.exit_code == 2
    oracle.check(laptop, against_source=True)
    error = ended.report["marts"]["Mart ä-$1"]["error"]
    assert "two columns would both be named" in error["message"]
