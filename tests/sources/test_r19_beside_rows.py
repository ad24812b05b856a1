"""What a value is made of beside its row: names and settings of the server (R19), and clocks."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from iceberg_datamart.core.source.reads import SourceTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


@pytest.fixture
def describe(laptop: Laptop) -> Callable[..., SourceTable]:
    """Return what describes a relation of the key `id`, with a cursor `at`."""

    def described(name: str = "t", **settings: Any) -> SourceTable:
        said = {"source": "prd", "from": name, "cursor": "at", "primary_key": ["id"], **settings}
        source = PostgresSource.model_validate({"type": "postgres", "url": laptop.url})
        with closing(PostgresSession("prd", source)) as session:
            return session.describe(name, TableConfig.model_validate(said)).facts

    return described


TABLE = "create table t (id int primary key, at timestamptz, v {});"


@pytest.mark.parametrize("kind", ["regclass", "regrole[]", "regtype", "aclitem", "named", "pair", "pair[]"])
def test_r19_a_text_that_is_a_name_in_the_catalog_is_refused_for_no_row_tells_of_its_change(
    connection: Connection, describe: Callable[..., SourceTable], kind: str
) -> None:
    connection.execute(
        "create domain named as regnamespace; create type pair as (a int, b named);" + TABLE.format(kind)
    )
    with pytest.raises(SourceError, match="column 'v' shows ") as caught:
        describe()
    assert "Exclude the column" in str(caught.value.hint)
    with pytest.raises(SourceError):
        describe(columns={"v": {"type": "string"}})
    assert [column.name for column in describe(exclude=["v"]).columns] == ["id", "at"]


@pytest.mark.parametrize("kind", ["money", "money[]", "price", "price[]", "cash", "numrange", "text"])
def test_r19_how_money_is_written_counts_wherever_it_is_a_part(
    connection: Connection, describe: Callable[..., SourceTable], kind: str
) -> None:
    connection.execute(
        "create type price as (amount money, note text); create domain cash as money[];" + TABLE.format(kind)
    )
    assert ("lc_monetary" in describe().recipe) == (kind not in {"numrange", "text"})


@pytest.mark.parametrize(
    ("column", "has_money"),
    [("v", True), ("v::text as v", True), ("1::money::text as v", True), ("id as v", False)],
)
def test_r19_how_money_is_written_counts_in_a_views_query(
    connection: Connection, describe: Callable[..., SourceTable], column: str, *, has_money: bool
) -> None:
    kind = "money" if has_money else "int"
    connection.execute(TABLE.format(kind) + f"create view w as select id, at, {column} from t")
    other = "C" if connection.execute("show lc_monetary").fetchall()[0][0] != "C" else "POSIX"
    before = describe("w").recipe
    database = connection.info.dbname
    connection.execute(f"alter database \"{database}\" set lc_monetary = '{other}'")
    assert (describe("w").recipe != before) == has_money


CLOCKS = {
    "select id, at, at > now() as v from t": "asks now()",
    "select id, at, v from t where at > clock_timestamp() - interval '1 day'": "asks clock_timestamp()",
    "select id, at, age(at) as v from t": "asks age()",
    "select id, at, v from t where at::date = current_date": "asks CURRENT_TIMESTAMP or the like",
    "select id, at, random() as v from t": "asks random()",
    "select id, at, (select max(v) from u where at < localtimestamp) as v from t": "asks CURRENT_TIMESTAMP",
    "select id, at, v from late": "the view public.late asks now()",
}


@pytest.mark.parametrize("query", CLOCKS)
def test_r19_a_view_that_asks_a_clock_changes_though_nobody_writes(
    connection: Connection, describe: Callable[..., SourceTable], query: str
) -> None:
    connection.execute(
        TABLE.format("int") + "create table u (v int, at timestamp);"
        "create view late as select * from t where at < now() - interval '1 hour';"
        f"create view w as {query}"
    )
    assert CLOCKS[query] in str(describe("w").unsteady)


STEADY = [
    "select id, at, v from t where at > timestamptz 'now'",
    "select id, at, 'now() and :funcid 1299'::text as v from t",
    'select id, at, v as ":funcid 1299 now()" from t',
    "select id, at, age(at, at) as v from t",
    "select id, at, current_user::text as v from t",
    "select id, date_trunc('day', at) as at, lower(v::text) as v from t where v + 1 > 2",
    "select id, max(at) as at, sum(v) over (order by id) as v from t group by id, v",
]


@pytest.mark.parametrize("query", STEADY)
def test_a_view_of_what_is_stored_alone_is_read_by_its_cursor(
    connection: Connection, describe: Callable[..., SourceTable], query: str
) -> None:
    connection.execute(TABLE.format("int") + f"create view w as {query}")
    assert describe("w").unsteady is None
    assert describe().unsteady is None


def test_r7_the_digits_of_a_views_computed_time_are_not_known(
    connection: Connection, describe: Callable[..., SourceTable]
) -> None:
    connection.execute(
        "create table t (id int primary key, at timestamptz(0), exact timestamptz);"
        "create view w as select id, at from t union all select -id, exact from t;"
        "create view p as select id, at::timestamptz(3) as at from t"
    )
    assert [describe(name).cursor_step for name in ("t", "w", "p")] == [1_000_000, 1_000_000, 1_000]
    assert describe(cursor="exact").cursor_step == 1
