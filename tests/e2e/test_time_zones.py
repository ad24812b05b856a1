"""No zone of a machine, JVM or role shifts a value, a window or a key; nor does a clock that is set."""

from __future__ import annotations

import json
import struct
import zoneinfo
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from support.oracles.oracle import Joined, Mirrored, Oracle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

HOUR = timedelta(hours=1)
# Six hours around each change of daylight-saving time in 2025: Berlin's two, then St John's two.
CHANGES = ("2025-03-30 01:00", "2025-10-26 01:00", "2025-03-09 05:30", "2025-11-02 04:30")
CURSORS = {"by_zoned": "zoned", "by_berlin": "berlin", "by_plain": "plain", "by_day": "day"}
ROW = """
    select i, {key}, i at time zone 'Europe/Berlin', i at time zone 'UTC',
        (i at time zone 'Pacific/Kiritimati')::date, '{word}'
"""


def open_moments(laptop: Laptop, connection: Connection) -> Oracle:
    """Make a source table with a cursor of each kind, four mirrors of it, and a mart keyed by an instant."""
    connection.execute(
        "create table moment (id timestamptz primary key, zoned timestamptz, berlin timestamp, "
        "plain timestamp, day date, word text)"
    )
    for change in CHANGES:
        moment = f"timestamptz '{change}Z'"
        series = f"generate_series({moment} - interval '3h', {moment} + interval '3h', '7m')"
        connection.execute(f"insert into moment {ROW.format(key='i', word='old')} from {series} as i")
    tables = {name: {"from": "moment", "cursor": column} for name, column in CURSORS.items()}
    tables["by_berlin"]["cursor_timezone"] = "Europe/Berlin"
    columns = ["by_plain_plain", "by_zoned_berlin", "by_zoned_day", "by_zoned_word"]
    mart = {"from": "by_zoned", "joins": [{"table": "by_plain", "on": ["id"]}], "columns": columns}
    laptop.configure(tables, {"pairs": mart})
    select = "select id, zoned, berlin, plain, day, word from moment"
    shown = (
        "select id, berlin as by_zoned_berlin, day as by_zoned_day, word as by_zoned_word, "
        "plain as by_plain_plain from moment"
    )
    mirrors = {name: Mirrored("moment", ("id",), select) for name in CURSORS}
    return Oracle(connection, "public", mirrors, {"pairs": Joined(("id",), shown)})


@pytest.mark.engines("matrix")
def test_machine_jvm_and_role_in_three_zones_across_daylight_saving_change_nothing(
    laptop: Laptop, connection: Connection, database: str
) -> None:
    oracle = open_moments(laptop, connection)
    connection.execute(f"alter database {database} set timezone = 'Europe/Berlin'")
    for number, (machine, jvm) in enumerate(
        (("Pacific/Kiritimati", "America/St_Johns"), ("America/St_Johns", "Europe/Berlin"))
    ):
        java = f"-Duser.timezone={jvm} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        laptop.settings["spark"]["properties"] |= {"spark.driver.extraJavaOptions": java}
        laptop.save()
        ended = laptop.process("run", "--json", environment={"TZ": machine, "PGTZ": machine})
        assert ended.exit_code == 0, ended.stderr
        assert json.loads(ended.stdout)["status"] == "succeeded"
        oracle.check(laptop, against_source=True)
        # Old keys of the hours that come twice, with new content and cursors of now; and new rows.
        now = ROW.format(key="i", word=f"new {number}").replace("select i,", "select")
        connection.execute(
            f"update moment set (zoned, berlin, plain, day, word) = ({now}) "
            "from (select clock_timestamp()) as c (i) where extract(minute from id)::int % 5 = 0"
        )
        connection.execute(f"insert into moment {ROW.format(key='i', word='x')} from clock_timestamp() as i")
    laptop.run()
    oracle.check(laptop, against_source=True)
    before = laptop.files()
    laptop.run()
    assert laptop.files() == before


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder whose time zones count as known."""
    folder = tmp_path / "zones"
    folder.mkdir()
    zoneinfo.reset_tzpath(to=[str(folder), *zoneinfo.TZPATH])
    yield folder
    zoneinfo.reset_tzpath()


def write_zone(path: Path, change: datetime, before: timedelta, after: timedelta) -> None:
    """Write a zone whose offset changes once (TZif version 2, RFC 8536)."""
    block = (
        b"".join(struct.pack(">lbb", int(each.total_seconds()), 0, 0) for each in (before, after)) + b"X\0"
    )
    counts = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 1, 2, 2)
    moment = int(change.timestamp())
    parts = [counts, struct.pack(">lb", moment, 1), block, counts, struct.pack(">qb", moment, 1), block]
    hours = int(after / HOUR)
    path.write_bytes(b"".join(parts) + f"\n<X>{-hours}\n".encode())


# By zone: what is added to UTC before and after its clock is set, at the same moment for all.
SHIFTS = {"Back": (2, 1), "Farback": (14, 11), "Forward": (-1, 0)}


def test_r7_rows_written_while_the_clock_is_set_back_or_forward_are_read(
    laptop: Laptop, connection: Connection, oracle: Oracle, zones: Path
) -> None:
    oracle.check(laptop)  # Spark is warm: the first run below ends before the clock is set
    soon = datetime.now(timezone.utc) + timedelta(seconds=15)
    change = soon.replace(second=0, microsecond=0) + timedelta(minutes=1)
    mirrors = {}
    for name, (before, after) in SHIFTS.items():
        write_zone(zones / name, change, before * HOUR, after * HOUR)
        table = name.lower()
        connection.execute(f"create table {table} (id int primary key, at timestamp)")
        mirrors[table] = Mirrored(table, ("id",), f"select id, at from {table}")
    laptop.configure(
        {name.lower(): {"from": name.lower(), "cursor": "at", "cursor_timezone": name} for name in SHIFTS},
        {},
    )
    found = Oracle(connection, "public", mirrors, {})
    for keys, wait in ((range(3), change), (range(3, 6), None), (range(6, 9), None)):
        for table, offsets in zip(mirrors, SHIFTS.values(), strict=True):
            for key in keys:
                connection.execute(
                    f"insert into {table} select %s, (moment at time zone 'UTC') + interval '1 hour' "
                    "* (case when moment < %s then %s else %s end) from clock_timestamp() as moment",
                    [key, change, *offsets],
                )
        laptop.run()
        found.check(laptop, against_source=True)
        if wait is not None:
            connection.execute("select pg_sleep_until(%s)", [wait + timedelta(seconds=2)])
