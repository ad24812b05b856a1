"""From which sequences an integer cursor's values come: of partitions, children, and under views (R20)."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.plan.setbacks import parts_text, setback
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.watermark import Horizon, Watermark
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.servers.roles import role_of

if TYPE_CHECKING:
    import psycopg

    from iceberg_datamart.core.source.reads import SourceTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
TABLES = """
create table t (id bigserial primary key, other bigserial, n int, at timestamptz default now());
create table u (id bigserial primary key, n int);
insert into t (n) select * from generate_series(1, 10);
"""
# What makes source `v`, or `p`, with a cursor `id` that comes from `t_id_seq` and nothing else.
SOURCES = {
    "a view": "create view v as select id, n from t",
    "a view over a view": (
        "create view b as select n, id as number from t; create view v as select number as id from b"
    ),
    "a materialized view": "create materialized view v as select id, n from t",
    "a view over a materialized view": (
        "create materialized view m as select id from t; create view v as select id from m"
    ),
    "a view that joins": "create view v as select t.id, u.n from u left join t on t.n = u.id",
    "a view that joins by using": "create view v as select id, u.n from t join u using (id)",
    "a view of a subquery": "create view v as select s.id, u.n from u, (select id from t) as s",
    "a view of a common table": "create view v as with s as (select * from t) select id from s group by id",
    "a view with odd names": 'create view v as select other as ":resno 2 } \\", id from t',
}


def described(url: str, name: str, cursor: str = "id") -> SourceTable:
    """Return a source table as a run describes it, through a session of its own."""
    table = TableConfig.model_validate(
        {"source": "prd", "from": name, "cursor": cursor, "primary_key": [cursor]}
    )
    with closing(
        PostgresSession("prd", PostgresSource.model_validate({"type": "postgres", "url": url}))
    ) as session:
        return session.describe(name, table).facts


def sign(before: SourceTable, now: SourceTable) -> str | None:
    """Return why a run compares all rows, after one whose watermark was the greatest value."""
    assert before.integers is not None
    assert before.integers.greatest is not None
    state = MirrorState(
        *("run-1", "incremental", before.identity, NOON, NOON),
        cursor="id",
        parts=parts_text(before.parts),
        watermark=Watermark(CursorKind.INTEGER, before.integers.greatest),
    )
    return setback(state, now, Horizon(NOON, NOON))


@pytest.mark.parametrize("source", SOURCES)
def test_r20_a_view_is_refused_for_the_sequence_of_the_column_under_it(
    laptop: Laptop, connection: Connection, source: str
) -> None:
    connection.execute(TABLES + SOURCES[source])
    connection.execute("alter sequence t_other_seq cache 7; alter sequence u_id_seq cache 7")
    assert described(laptop.url, "v").integers is not None, "of another column's sequence nothing is asked"
    options = {"cache 50": "CACHE 50", "cache 1 increment 5": "INCREMENT 5", "increment 1 cycle": "CYCLE"}
    for option, property_ in options.items():
        connection.execute(f"alter sequence t_id_seq {option}")
        said = rf"'id' of table 'v' draws from sequence public.t_id_seq \(of public.t\) with {property_}"
        with pytest.raises(SourceError, match=said) as refused:
            described(laptop.url, "v")
        assert "ALTER SEQUENCE public.t_id_seq" in str(refused.value.hint)


def test_r20_a_view_is_refused_for_two_sequences_of_the_column_under_it(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(TABLES + "create view v as select id from t; create sequence s;")
    connection.execute("alter table t alter id set default nextval('s')")
    with pytest.raises(SourceError, match=r"has the sequences public.t_id_seq \(of public.t\) and public.s"):
        described(laptop.url, "v")


BACK = {
    "select setval('t_id_seq', 5)": "the cursor's sequence went back: it stands at 5, below the watermark 10",
    "alter sequence t_id_seq restart": "'public.t_id_seq' was truncated, restarted or rewritten",
    "delete from t where id > 5": "the cursor went back: its greatest value is 5, below the watermark 10",
    "delete from t where id < 5": None,
    "insert into t default values": None,
}


@pytest.mark.parametrize("statement", BACK)
@pytest.mark.parametrize("source", ["a view", "a view over a view"])
def test_r20_a_sequence_under_a_view_that_goes_back_is_noticed(
    laptop: Laptop, connection: Connection, source: str, statement: str
) -> None:
    connection.execute(TABLES + SOURCES[source])
    before = described(laptop.url, "v")
    assert sign(before, before) is None
    connection.execute(statement)
    assert sign(before, described(laptop.url, "v")) == BACK[statement]


def test_r20_a_role_that_sees_a_view_alone_has_it_compared_until_it_may_see_the_sequence(
    connection: Connection, database: str
) -> None:
    connection.execute("create schema app; create schema shown; set search_path to app;" + TABLES)
    connection.execute("create view shown.v as select id from app.t")
    rights = "grant usage on schema shown to {role}; grant select on shown.v to {role}"
    with role_of(connection, f"seq_{database}", rights) as url:
        hidden = described(url, "shown.v")
        connection.execute(f"grant select on sequence app.t_id_seq to seq_{database}")
        assert sign(hidden, hidden) == (
            "this role may not see where the cursor's sequence app.t_id_seq stands, "
            "which may have gone back: GRANT SELECT ON SEQUENCE app.t_id_seq lets runs read changes alone"
        )
        seen = described(url, "shown.v")
        assert sign(seen, seen) is None


COMPUTED = {
    "select id + 0 as id from t": None,
    "select id::int as id from t where n > 0": None,
    "select id from t where id < 5 union all select id from t where id >= 5": None,
    "select max(id) as id from t group by n": None,
    "select n as id from t union select other from t": None,
    "select 10 as id": None,
    "select id from t union all select id from u": (
        "perhaps from the sequences public.t_id_seq (of public.t) and public.u_id_seq (of public.u), of "
    ),
    "select coalesce(t.id, u.id) as id from t left join u on true": (
        "perhaps from the sequences public.t_id_seq (of public.t) and public.u_id_seq (of public.u), of "
    ),
    "select (to_jsonb(t) ->> 'id')::int as id from t": (
        "perhaps from the sequences public.t_id_seq (of public.t) and public.t_other_seq (of public.t), of "
    ),
    "select id + 1 as id from t": (
        "perhaps from sequence public.t_id_seq (of public.t) which stands at 10, below the greatest value 11"
    ),
}


def test_r20_a_cursor_that_a_view_computes_is_compared_where_its_numbers_need_not_grow(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(TABLES)
    for query, expected in COMPUTED.items():
        connection.execute(f"create view b as {query}; create view v as select id from b")
        source = described(laptop.url, "v")
        connection.execute("drop view b cascade")
        found = sign(source, source)
        if expected is None:
            assert found is None, query
            continue
        assert found is not None, query
        assert f"a view computes its cursor 'id', {expected}" in found
        assert "set tables.v.cursor to a column that the view takes unchanged" in found


def test_r20_a_cursor_that_a_view_computes_is_never_refused(laptop: Laptop, connection: Connection) -> None:
    connection.execute(
        TABLES + "alter sequence t_id_seq cache 50; create view v as select id::int as id from t"
    )
    cached = described(laptop.url, "v")
    assert "perhaps from sequence public.t_id_seq (of public.t) with CACHE 50" in str(sign(cached, cached))
    connection.execute("alter sequence t_id_seq cache 1; select setval('t_id_seq', 10)")
    before = described(laptop.url, "v")
    assert sign(before, before) is None
    connection.execute("select setval('t_id_seq', 4)")
    assert "stands at 4, below the greatest value 10" in str(sign(before, described(laptop.url, "v")))
    connection.execute("delete from t where id > 4")
    assert "its greatest value is 4" in str(sign(before, described(laptop.url, "v")))


PARTITIONED = """
create table p (id bigserial, k int) partition by list (k);
create table part1 partition of p for values in (1);
create table part2 partition of p default partition by list (k);
create table part3 partition of part2 default;
"""
INHERITED = "create table p (id bigserial, k int); create table c (more int) inherits (p);"
HARMLESS = {
    "partitions with their parent's default": PARTITIONED,
    "an identity": PARTITIONED.replace("bigserial", "bigint generated always as identity"),
    "a partition whose columns lie otherwise": (
        PARTITIONED + "create table odd (gone int, k int, id bigint not null default nextval('p_id_seq'));"
        "alter table odd drop gone; alter table p attach partition odd for values in (8)"
    ),
    "children with their parent's default": INHERITED,
    "a child without default": INHERITED + "alter table c alter id drop default",
    "a child with a sequence for another column": INHERITED
    + "alter table c alter k set default nextval('p_id_seq')",
}


@pytest.mark.parametrize("tables", HARMLESS)
def test_a_table_whose_parts_draw_from_its_own_sequence_is_read_by_its_cursor(
    laptop: Laptop, connection: Connection, tables: str
) -> None:
    connection.execute(HARMLESS[tables])
    connection.execute(
        "create view v as select id from p; insert into p (k) select 1 from generate_series(1, 10)"
    )
    for name in ("p", "v"):
        source = described(laptop.url, name)
        assert source.integers is not None
        assert source.integers.drawn == (10 if name == "p" else None), "a view's greatest value counts"
        assert sign(source, source) is None
        assert "public.p_id_seq" in [part.name for part in source.parts]


OWN = {
    "a partition": (PARTITIONED + "alter table part1 alter id set default nextval('s')", "part1"),
    "a partition of a partition": (
        PARTITIONED + "alter table part3 alter id set default nextval('s')",
        "part3",
    ),
    "a partition with other columns": (
        PARTITIONED + "create table odd (k int, id bigint not null default nextval('s'));"
        "alter table p attach partition odd for values in (8)",
        "odd",
    ),
    "a child": (INHERITED + "alter table c alter id set default nextval('s')", "c"),
    "a child of its own": (INHERITED + "create table d (id bigint default nextval('s')) inherits (p)", "d"),
}


@pytest.mark.parametrize("part", OWN)
def test_r20_a_table_whose_parts_draw_from_sequences_of_their_own_is_compared_whole(
    laptop: Laptop, connection: Connection, part: str
) -> None:
    statements, table = OWN[part]
    connection.execute("create sequence s;" + statements)
    connection.execute("create view v as select id from p; insert into p (k) values (8)")
    for name, own in {"p": "public.p_id_seq", "v": "public.p_id_seq (of public.p)"}.items():
        source = described(laptop.url, name)
        found = str(sign(source, source))
        said = f"its cursor 'id' draws from the sequences public.s (of public.{table}) and {own}, of which "
        assert found.startswith(said)
        assert f"set tables.{name}.cursor to a timestamp column" in found
    connection.execute("alter sequence s cache 20")
    said = rf"'id' of table 'p' draws from sequence public.s \(of public.{table}\) with CACHE 20"
    with pytest.raises(SourceError, match=said):
        described(laptop.url, "p")


def test_r20_a_partition_with_two_sequences_is_refused_with_both(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(PARTITIONED + "create sequence s owned by part1.id")
    said = r"'id' of table 'p' has the sequences public.p_id_seq and public.s \(of public.part1\)"
    with pytest.raises(SourceError, match=said):
        described(laptop.url, "p")


def test_r20_a_partition_is_also_filled_through_what_it_is_a_part_of(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(
        PARTITIONED + "alter table part3 alter id drop default; alter sequence p_id_seq cache 20"
    )
    said = r"'id' of table 'part3' draws from sequence public.p_id_seq \(of public.p\) with CACHE 20"
    with pytest.raises(SourceError, match=said):
        described(laptop.url, "part3")
