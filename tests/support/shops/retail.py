"""The second schema: settings, hand-written SQL for the oracle, and a live system that changes its rows."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql

from support.oracles.oracle import Joined, Mirrored, Oracle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    import psycopg

    from support.worlds.laptop import Laptop

SCHEMA = "Retail Ops"
ROLE = "the reader"
PASSWORD = 'it\'s 100% "se:cr@et"/?#\\ ä'
FILE = Path(__file__).parents[1] / "schemas" / "retail.sql"
TABLES: dict[str, dict[str, Any]] = {
    "customer": {
        "from": "Retail Ops.Customer",
        "cursor": "changed At",
        "soft_delete": '"isGone"',
        "exclude": ["secret note"],
        "columns": {"Ratio": {"type": "decimal(38,20)"}},
    },
    "order": {"from": '"Retail Ops"."Order"', "cursor": "version"},
    "order_line": {
        "from": "Retail Ops.order line",
        "primary_key": ["storeNo", "orderNo", "lineNo"],
        "cursor": "touched",
        "cursor_timezone": "America/New_York",
    },
    "Shipment": {"from": "Retail Ops.Shipment", "cursor": "shippedOn"},
}
MARTS: dict[str, dict[str, Any]] = {
    "customer 360": {
        "from": "customer",
        "joins": [
            {"table": "order", "on": ["customerId"], "how": "left"},
            {"table": "order_line", "on": ["storeNo", "orderNo"], "how": "left", "to": "order"},
        ],
    },
    "big_lines": {
        "from": "order_line",
        "joins": [
            {"table": "Shipment", "on": ["storeNo", "orderNo", "lineNo"], "how": "left"},
            {"table": "order", "on": {"storeNo": "storeNo", "orderNo": "orderNo"}, "to": "order_line"},
            {"table": "customer", "on": ["customerId"], "how": "left", "to": "order"},
        ],
        "columns": ["Sku", "Qty", "Carrier", "Name", "Total"],
        "filter": "`Qty` > 1",
        "expressions": {"Worth": "`Qty` * `Total`", "is shipped": "`shipId` IS NOT NULL"},
    },
}
_CUSTOMER = """
    c."customerId"::text, c."Name", c."Tier"::text, c."Balance", c."Ratio", c."Tags", c."Scores",
    c."Weights"::text[], c."Blob %", c."Prefs"::text, c."Doc"::text, c."OpensAt"::text, c."Cooldown"::text,
    c."Active", c."Rank", c."Heat"::float8, c."Load", c."bornOn", c."isGone", c."changed At"
"""
_MIRRORS = {
    "customer": Mirrored(
        "Customer", ("customerId",), f'select {_CUSTOMER} from "Customer" as c', gone='"isGone"'
    ),
    "order": Mirrored(
        "Order",
        ("storeNo", "orderNo"),
        'select "storeNo", "orderNo", "customerId"::text, "Status", "Total", placed, version from "Order"',
    ),
    "order_line": Mirrored(
        "order line",
        ("storeNo", "orderNo", "lineNo"),
        'select "storeNo", "orderNo", "lineNo", "Sku", "Qty", "status", "touched" from "order line"',
    ),
    "Shipment": Mirrored(
        "Shipment",
        ("shipId",),
        'select "shipId", "storeNo", "orderNo", "lineNo", "Carrier", "shippedOn" from "Shipment"',
    ),
}
_JOINS = {
    "customer 360": Joined(
        ("customerId", "storeNo", "orderNo", "lineNo"),
        f"""
        select {_CUSTOMER}, o."storeNo", o."orderNo", o."Status" as "order_Status", o."Total", o."placed",
            o."version", l."lineNo", l."Sku", l."Qty", l."status" as order_line_status, l."touched"
        from "Customer" as c
        left join "Order" as o on o."customerId" = c."customerId"
        left join "order line" as l on l."storeNo" = o."storeNo" and l."orderNo" = o."orderNo"
        """,
    ),
    "big_lines": Joined(
        ("storeNo", "orderNo", "lineNo", "shipId"),
        """
        select l."storeNo", l."orderNo", l."lineNo", l."Sku", l."Qty", s."shipId", s."Carrier",
            o."customerId"::text, o."Total", c."Name", l."Qty" * o."Total" as "Worth",
            s."shipId" is not null as "is shipped"
        from "order line" as l
        join "Order" as o on o."storeNo" = l."storeNo" and o."orderNo" = l."orderNo"
        left join "Shipment" as s
            on s."storeNo" = l."storeNo" and s."orderNo" = l."orderNo" and s."lineNo" = l."lineNo"
        left join "Customer" as c on c."customerId" = o."customerId"
        where l."Qty" > 1
        """,
    ),
}
_NEW_YORK = "(clock_timestamp() at time zone 'America/New_York')"
_TRANSACTION_NEW_YORK = "(now() at time zone 'America/New_York')"
_VERSION = """nextval('"Retail Ops"."version numbers"')"""


def open_retail(laptop: Laptop, connection: psycopg.Connection[Any], database: str) -> Oracle:
    """Fill the source, give a role of few rights its password, and return the oracle; settings are written.

    The password is a reference to the environment's RETAIL_PASSWORD.
    """
    connection.execute(FILE.read_bytes())
    role, name = sql.Identifier(ROLE), sql.Identifier(database)
    known = connection.execute("select from pg_roles where rolname = %s", [ROLE]).fetchone()
    if known is None:
        make = sql.SQL("create role {} login password {} in role pg_read_all_stats")
        connection.execute(make.format(role, sql.Literal(PASSWORD)))
    connection.execute(sql.SQL('grant usage on schema "Retail Ops" to {}').format(role))
    connection.execute(sql.SQL('grant select on all tables in schema "Retail Ops" to {}').format(role))
    connection.execute(sql.SQL("alter database {} set timezone = 'Asia/Kolkata'").format(name))
    connection.execute(sql.SQL("alter role {} set intervalstyle = 'sql_standard'").format(role))
    connection.execute(sql.SQL("alter role {} set datestyle = 'German'").format(role))
    info = connection.info
    laptop.url = f"postgresql://{info.host}:{info.port}/{database}"
    laptop.configure(TABLES, MARTS, user=ROLE, password="${RETAIL_PASSWORD}")
    oracle = Oracle(connection, SCHEMA, _MIRRORS, _JOINS)
    oracle.prepare()
    return oracle


@dataclass
class Retail:
    """A live system over the four tables; what it does depends on `dice` alone."""

    connection: psycopg.Connection[Any]
    dice: random.Random

    def busy_hour(self) -> None:
        """Do some of everything a left join can notice."""
        deeds: list[Callable[[], None]] = [
            self.new_customer,
            self.new_order,
            self.new_lines,
            self.new_shipment,
            self.change_customer,
            self.change_lines,
            self.move_order,
            self.move_shipment,
            lambda: self.delete(self.dice.choice(["Customer", "Order", "order line", "Shipment"]), 1),
        ]
        for deed in self.dice.choices(deeds, weights=[2, 4, 4, 3, 3, 3, 3, 3, 1], k=self.dice.randint(6, 10)):
            deed()

    def new_customer(self) -> None:
        self._do(
            """insert into "Customer" ("customerId", "Name", "Ratio", "Load", "changed At")
            values (gen_random_uuid(), {word}, 0.00000000000000000001, '-0', {moment})"""
        )

    def new_order(self, version: str = _VERSION) -> None:
        self._do(
            """insert into "Order" values ({die}, nextval('"key numbers"'), {customer}, 'x', {die}, null,"""
            f"{version})"
        )

    def new_lines(self, moment: str = _NEW_YORK) -> None:
        """Give first lines to orders that have none, and more to others."""
        self._do(
            f"""insert into "order line"
            select "storeNo", "orderNo", nextval('"key numbers"'), {{word}}, {{die}}, 'new', {moment}
            from "Order" order by {{chance}} limit 3"""
        )

    def new_shipment(self) -> None:
        self._do(
            """insert into "Shipment"
            select {word} || random(), "storeNo", "orderNo", "lineNo", 'new', {today}
            from "order line" order by {chance} limit 2"""
        )

    def change_customer(self) -> None:
        self._do(
            """update "Customer" set "Balance" = -"Balance", "Prefs" = '{{"changed": true}}',
            "Scores" = "Scores" || 7, "isGone" = {die} % 5 = 0, "changed At" = {moment}
            where ctid = any(array(select ctid from "Customer" order by {chance} limit 3))"""
        )

    def change_lines(self) -> None:
        self._do(
            f"""update "order line" set "Qty" = {{die}} % 4, "touched" = {_NEW_YORK}
            where ctid = any(array(select ctid from "order line" order by {{chance}} limit 4))"""
        )

    def move_order(self, version: str = _VERSION) -> None:
        """Give an order to another customer, to nobody, or to one who does not exist."""
        self._do(
            f"""update "Order" set "customerId" = {{customer}}, "version" = {version} where ctid = any(array(
            select ctid from "Order" order by {{chance}} limit 2 for update skip locked))"""
        )

    def move_shipment(self) -> None:
        self._do(
            """update "Shipment" as s set ("storeNo", "orderNo", "lineNo") =
                (select "storeNo", "orderNo", nullif("lineNo", {die} % 4) from "order line"
                order by {chance} limit 1), "shippedOn" = {today}
            where ctid = any(array(select ctid from "Shipment" order by {chance} limit 2))"""
        )

    def change_without_cursor(self) -> None:
        """Take the cursor from a row of each kind, and change all that have none."""
        for table, column, sets in (
            ("Customer", "changed At", '"Name" = {word}'),
            ("Order", "version", '"Total" = {die}'),
            ("order line", "touched", '"Qty" = {die}'),
            ("Shipment", "shippedOn", '"Carrier" = {word}'),
        ):
            self._do(
                f"""update "{table}" set "{column}" = null, {sets} where ctid = any(array(
                select ctid from "{table}" where "{column}" is null or {{chance}} < '1'
                for update skip locked))"""
            )

    def tie(self, watermarks: dict[str, str]) -> None:
        """Change rows and give them exactly the cursor value of the last run's watermark."""
        self._do(
            f"""update "Customer" set "Name" = 'tied', "changed At" = timestamptz '{watermarks["customer"]}'
            where ctid = any(array(select ctid from "Customer" order by {{chance}} limit 2))"""
        )
        self._do(
            f"""update "order line" set "Sku" = 'tied', "touched" = timestamp '{watermarks["order_line"]}'
            where ctid = any(array(select ctid from "order line" order by {{chance}} limit 2))"""
        )

    def delete(self, table: str, count: int) -> None:
        """Delete parents and children alike, last matches included."""
        self._do(
            f"""delete from "{table}" where ctid = any(array(select ctid from "{table}" order by {{chance}}
            limit {count} for update skip locked))"""
        )

    @contextmanager
    def open_transaction(self, other: psycopg.Connection[Any]) -> Iterator[None]:
        """Write in a transaction that stays open within the block; later writes take greater cursors."""
        with other.transaction():
            late = Retail(other, self.dice)
            late.new_order()
            late.new_lines(moment=_TRANSACTION_NEW_YORK)
            late.move_order()
            yield

    def _do(self, text: str) -> None:
        parts = {
            "word": f"'w{self.dice.randint(0, 9999)}'",
            "die": str(self.dice.randint(1, 6)),
            "customer": self.dice.choice(["null", f"'{'0' * 8}-0000-0000-0000-{'1' * 12}'", *[_ANY] * 4]),
            "chance": f"md5(ctid::text || '{self.dice.random()}')",
            "moment": "clock_timestamp()",
            "today": "(clock_timestamp() at time zone 'UTC')::date",
        }
        parts["customer"] = parts["customer"].replace("DICE", str(self.dice.random()))
        self.connection.execute('set search_path = "Retail Ops"')
        self.connection.execute(text.format(**parts))


_ANY = """(select "customerId" from "Customer" order by md5("customerId"::text || 'DICE') limit 1)"""
