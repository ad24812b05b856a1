"""Rule R7 on the real stack: rows that commit late are read; `status` says what holds a watermark back."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from support.servers.roles import role_of
from support.shops.shop_rules import rename

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]

INSERT = "insert into public.customer (name, updated_at) values (%s, now())"
MOVE = "update public.purchase set customer_id = 20, updated_at = now() where purchase_id = %s"


def test_r7_several_transactions_that_commit_in_another_order_than_they_began_are_all_read(
    laptop: Laptop, databases: Databases, database: str, connection: Connection, oracle: Oracle
) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(databases.connected(database)) for _ in range(2)]
        for number, session in enumerate(opened):
            session.execute("begin")
            session.execute(INSERT, [f"late {number}"])
            session.execute(MOVE, [number + 1])
            rename(connection, f"newer than {number}", f"customer_id = {number + 1}")
            laptop.run()
            oracle.check(laptop, against_source=True)
        for number in (1, 0):
            opened[number].execute("commit")
            rename(connection, f"newer again {number}", "customer_id = 9")
            report = laptop.run()
            assert report["tables"]["customer"]["inserted"] == 1
            assert report["tables"]["purchase"]["updated"] == 1
            oracle.check(laptop, against_source=True)


def test_r7_a_cursor_that_rounds_down_below_the_horizon_is_read_when_it_commits(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    connection.execute("alter table customer alter updated_at type timestamptz(0)")
    laptop.settings["state"]["on_missing"] = "use_snapshots"
    laptop.save().run()
    while True:
        other.execute("begin")
        (rounded_down,) = (
            other.execute("select now()::timestamptz(0) < now() - interval '0.1 s'").fetchone() or ()
        )
        if rounded_down:
            break
        other.execute("rollback")
    other.execute(INSERT, ["late"])
    connection.execute("select pg_sleep(1)")
    rename(connection, "newer", "customer_id = 1")
    laptop.run()
    laptop.timestamp_file.unlink()  # it tells whole seconds, which hides what a mirror's own state lost
    other.execute("commit")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r7_a_long_transaction_across_runs_loses_nothing_and_status_names_it(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    other.execute("set application_name = 'month end'")
    with other.transaction():
        (since, pid) = other.execute("select now(), pg_backend_pid()").fetchone() or (None, None)
        other.execute(INSERT, ["late"])
        (gid_since,) = prepared(connection, "half done") or (None,)
        for number in range(2):
            rename(connection, f"run {number}", f"customer_id = {number + 1}")
            laptop.run()
            oracle.check(laptop, against_source=True)
        connection.execute("select pg_sleep(1.2)")
        said = laptop.status()["sources"]["prd"]
        assert (said["error"], said["warning"]) == (None, None)
        two_phases, session = said["open_transactions"]
        assert session == {
            "pid": pid,
            "application_name": "month end",
            "user": other.info.user,
            "state": "idle in transaction",
            "since": str(since).replace(" ", "T"),
            "gid": None,
            "is_own": False,
            "behind": ["customer"],
        }
        assert (two_phases["gid"], two_phases["pid"]) == ("half done", None)
        assert two_phases["since"] == str(gid_since).replace(" ", "T")
        assert two_phases["behind"] == ["customer"]
        text = laptop.process("status").stdout
        assert f"session {pid} 'month end' of {other.info.user}, idle in transaction, since" in text
        assert "prepared transaction 'half done'" in text
        assert "holds back: customer" in text
        other.execute(MOVE, [3])
    connection.execute("commit prepared 'half done'")
    report = laptop.run()
    assert report["tables"]["customer"]["inserted"] == 2
    assert report["tables"]["purchase"]["updated"] == 1
    oracle.check(laptop, against_source=True)
    assert laptop.status()["sources"]["prd"]["open_transactions"] == []


def prepared(connection: Connection, gid: str) -> tuple[datetime] | None:
    """Insert a customer in a transaction that is prepared; return when it was."""
    connection.execute("begin")
    connection.execute(INSERT, [gid])
    connection.execute(f"prepare transaction '{gid}'")
    query = "select prepared from pg_prepared_xacts where database = current_database()"
    return connection.execute(query).fetchone()


@contextmanager
def without_statistics(laptop: Laptop, connection: Connection) -> Iterator[None]:
    """Let the job read as a role that may not see what other sessions do."""
    grants = "grant usage on schema public to {role}; grant select on all tables in schema public to {role}"
    with role_of(connection, "short_sighted", grants) as url:
        laptop.settings["sources"]["prd"]["url"] = url
        laptop.save()
        yield


@pytest.mark.parametrize("lookback", [None, 30])
def test_r7_where_open_transactions_are_hidden_the_lookback_stands_in_and_a_warning_says_so(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle, lookback: int | None
) -> None:
    with without_statistics(laptop, connection):
        if lookback is not None:
            for table in laptop.settings["tables"].values():
                table["lookback_minutes"] = lookback
            laptop.save()
        minutes = (lookback or 5) - 1
        started = datetime.now(timezone.utc) - timedelta(minutes=minutes)
        with other.transaction():
            # A transaction that has been open for so long writes its time of start.
            other.execute(INSERT.replace("now()", f"'{started}'"), ["late"])
            rename(connection, "newer")
            report = laptop.run()
            assert "GRANT pg_read_all_stats" in report["warnings"][0]
            oracle.check(laptop, against_source=True)
            assert "GRANT pg_read_all_stats" in laptop.status()["sources"]["prd"]["warning"]
        assert laptop.run()["tables"]["customer"]["inserted"] == 1
        oracle.check(laptop, against_source=True)


def test_status_says_that_a_source_cannot_be_reached_or_does_not_answer_and_goes_on(
    laptop: Laptop, oracle: Oracle
) -> None:
    rows = laptop.status()["tables"]["customer"]["rows"]
    with socket.create_server(("127.0.0.1", 0)) as deaf, socket.create_server(("127.0.0.1", 0)) as dead:
        ports = {"deaf": deaf.getsockname()[1], "dead": dead.getsockname()[1]}
        dead.close()
        for name, port in ports.items():
            url = f"postgresql://reader@127.0.0.1:{port}/prd"
            laptop.settings["sources"][name] = {"type": "postgres", "url": url}
        laptop.settings["tables"]["away"] = {"source": "dead", "from": "public.customer", "enabled": False}
        ended = laptop.save().command("status")
        laptop.settings["tables"]["away"]["enabled"] = True
        needed = laptop.save().command("status")
    assert ended.exit_code == 0, "no run asks these sources"
    assert needed.exit_code == 75, "a run would"
    assert "source 'dead' cannot be reached" in needed.stderr
    assert needed.report["tables"]["customer"]["rows"] == rows
    for name in ports:
        assert f"source '{name}' cannot be reached" in ended.report["sources"][name]["error"]["message"]
    assert ended.report["sources"]["prd"]["error"] is None
    assert ended.report["tables"]["customer"]["rows"] == rows
    oracle.check(laptop, against_source=True)
