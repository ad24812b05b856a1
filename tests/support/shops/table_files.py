"""Files of one table of four columns in the five formats that a crawler finds, as other tools write them."""

from __future__ import annotations

import csv
import io
import json
import struct
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import orc, parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# id, name, amount, at
Row = tuple[int | None, str | None, float, datetime]
COLUMNS = (("id", "bigint"), ("name", "string"), ("amount", "double"), ("at", "timestamp"))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# As writers spell them: the catalog's names are small.
_SPELLED = ("Id", "name", "Amount", "at")
_SYNC = b"sixteen bytes ok"
_AVRO = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "Id", "type": ["null", "long"]},
        {"name": "name", "type": ["null", "string"]},
        {"name": "Amount", "type": "double"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


def at(minute: int) -> datetime:
    """Return an instant, a minute each."""
    return datetime(2026, 3, 1, 12, minute, tzinfo=timezone.utc)


def _arrow(rows: Sequence[Row], zone: str | None) -> pa.Table:
    instants = [row[3].replace(tzinfo=None) for row in rows]
    columns = [
        pa.array([row[0] for row in rows], pa.int64()),
        pa.array([row[1] for row in rows], pa.string()),
        pa.array([row[2] for row in rows], pa.float64()),
        pa.array(instants, pa.timestamp("us", tz=zone)),
    ]
    return pa.table(columns, names=list(_SPELLED))


def _parquet(rows: Sequence[Row]) -> bytes:
    parquet.write_table(_arrow(rows, "UTC"), out := io.BytesIO())
    return out.getvalue()


def _orc(rows: Sequence[Row]) -> bytes:
    orc.write_table(_arrow(rows, None), out := io.BytesIO())
    return out.getvalue()


def _csv(rows: Sequence[Row]) -> bytes:
    writer = csv.writer(out := io.StringIO())
    writer.writerow(_SPELLED)
    writer.writerows((*row[:3], row[3].strftime("%Y-%m-%d %H:%M:%S.%f")) for row in rows)
    return out.getvalue().encode()


def _json(rows: Sequence[Row]) -> bytes:
    lines = (dict(zip(_SPELLED, (*row[:3], row[3].isoformat()), strict=True)) for row in rows)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _avro(rows: Sequence[Row]) -> bytes:
    """Return an object container file.

    https://avro.apache.org/docs/1.11.1/specification/#object-container-files
    """
    body = b""
    for number, name, amount, instant in rows:
        body += _avro_long(0) if number is None else _avro_long(1) + _avro_long(number)
        body += _avro_long(0) if name is None else _avro_long(1) + _avro_bytes(name.encode())
        body += struct.pack("<d", amount) + _avro_long((instant - _EPOCH).total_seconds() * 1_000_000)
    meta = {"avro.schema": json.dumps(_AVRO).encode(), "avro.codec": b"null"}
    head = b"Obj\x01" + _avro_long(len(meta))
    head += b"".join(_avro_bytes(key.encode()) + _avro_bytes(value) for key, value in meta.items())
    return head + _avro_long(0) + _SYNC + _avro_long(len(rows)) + _avro_bytes(body) + _SYNC


def _avro_long(number: float) -> bytes:
    """Return a number in zigzag and seven bits a byte."""
    left, found = int(number) * 2 if number >= 0 else -int(number) * 2 - 1, b""
    while left > 0x7F:
        found += bytes([left & 0x7F | 0x80])
        left >>= 7
    return found + bytes([left])


def _avro_bytes(content: bytes) -> bytes:
    return _avro_long(len(content)) + content


WRITERS: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "parquet": _parquet,
    "csv": _csv,
    "json": _json,
    "orc": _orc,
    "avro": _avro,
}


def expected(rows: Sequence[Row], day: str, region: str | None) -> list[dict[str, Any]]:
    """Return what a mirror must hold for the rows of one partition."""
    date = datetime.fromisoformat(day).date()
    return [
        {"id": n, "name": name, "amount": amount, "at": instant, "day": date, "region": region}
        for n, name, amount, instant in rows
    ]
