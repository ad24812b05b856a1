"""The one form of a timestamp file, and that anything else is an error that shows it (R5, R6)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceberg_datamart.errors import TimestampFileError
from iceberg_datamart.stores.timestamp_file import parse_timestamp, timestamp_text

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ZONES = [timezone.utc, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]
instants = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from(ZONES))  # noqa: DTZ001


def refusal(content: bytes) -> TimestampFileError:
    with pytest.raises(TimestampFileError) as caught:
        parse_timestamp(content, "s3://bucket/last.csv")
    return caught.value


@given(instants)
@example(datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=timezone.utc))
def test_every_instant_is_read_back_floored_to_the_second(instant: datetime) -> None:
    found = parse_timestamp(timestamp_text(instant).encode(), "last.csv")
    assert timedelta(0) <= instant - found < timedelta(seconds=1)
    assert found.microsecond == 0
    assert found.utcoffset() == timedelta(0)


@given(instants)
def test_the_text_has_a_header_and_one_line(instant: datetime) -> None:
    assert timestamp_text(instant).count("\n") == 2
    assert timestamp_text(instant).startswith("last_load_timestamp\n")


@pytest.mark.parametrize(
    "content",
    [
        b"last_load_timestamp\n2026-03-01 12:00:00\n",
        b"last_load_timestamp\n2026-03-01 12:00:00",
        b"last_load_timestamp\r\n2026-03-01 12:00:00\r\n",
        b"\xef\xbb\xbflast_load_timestamp\n2026-03-01 12:00:00\n",
        b"last_load_timestamp\n2026-03-01 12:00:00\n\n\n",
        b"\n last_load_timestamp \n 2026-03-01 12:00:00 \n",
    ],
    ids=["as written", "no last newline", "CRLF", "BOM", "empty lines", "spaces around"],
)
def test_what_editors_add_does_no_harm(content: bytes) -> None:
    assert parse_timestamp(content, "last.csv") == NOON


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"last_load_timestamp\n", "'last_load_timestamp'"),
        (b"2026-03-01 12:00:00\n", "'2026-03-01 12:00:00'"),
        (b"last_load_timestamp\n2026-03-01 12:00:00\n2026-03-02 12:00:00\n", "2026-03-02 12:00:00"),
        (b"last_load_timestamp,rows\n2026-03-01 12:00:00,5\n", "'last_load_timestamp,rows'"),
        (b"LAST_LOAD_TIMESTAMP\n2026-03-01 12:00:00\n", "'LAST_LOAD_TIMESTAMP'"),
        (b'last_load_timestamp\n"2026-03-01 12:00:00"\n', "2026-03-01 12:00:00"),
        (b"last_load_timestamp\n2026-03-01T12:00:00\n", "'2026-03-01T12:00:00'"),
        (b"last_load_timestamp\n2026-03-01 12:00:00Z\n", "'2026-03-01 12:00:00Z'"),
        (b"last_load_timestamp\n2026-03-01 12:00:00+01:00\n", "'2026-03-01 12:00:00+01:00'"),
        (b"last_load_timestamp\n2026-03-01 12:00:00.5\n", "'2026-03-01 12:00:00.5'"),
        (b"last_load_timestamp\n2026-03-01\n", "'2026-03-01'"),
        (b"last_load_timestamp\n01.03.2026 12:00:00\n", "'01.03.2026 12:00:00'"),
        (b"last_load_timestamp\n2026-02-30 12:00:00\n", "'2026-02-30 12:00:00', which is no date"),
        (b"last_load_timestamp\n2026-03-01 24:00:00\n", "'2026-03-01 24:00:00', which is no date"),
        (b"last_load_timestamp\n2026-03-01 12:00:60\n", "'2026-03-01 12:00:60'"),
        (b"last_load_timestamp\n0000-01-01 00:00:00\n", "'0000-01-01 00:00:00', which is no date"),
        (b"\xff\xfel\x00a\x00s\x00t\x00", "malformed"),
        (b"last_load_timestamp\n2026-03-01 12:00:00\xff\n", "malformed"),
        (b"last_load_timestamp\n2026-03-01 12:00:00\0\n", r"'2026-03-01 12:00:00\x00'"),
        (b"last_load_timestamp\n2026-03-01 12:00:00\n\0\0\n", r"'\x00\x00'"),
        ("last_load_timestamp\n２０２６-03-01 12:00:00\n".encode(), "malformed"),  # noqa: RUF001  (wide digits)
    ],
)
def test_r5_a_malformed_file_is_an_error_that_shows_the_line_and_the_right_form(
    content: bytes, shown: str
) -> None:
    error = refusal(content)
    assert shown in error.message
    assert "s3://bucket/last.csv" in error.message
    assert "'2026-01-31 08:15:00' (UTC)" in error.hint
    assert error.exit_code == 2


@given(st.binary(max_size=80))
def test_any_bytes_are_an_instant_or_an_error_of_this_package(content: bytes) -> None:
    try:
        parse_timestamp(content, "last.csv")
    except TimestampFileError as error:
        assert "last.csv" in error.message  # noqa: PT017  (or it is an instant)


def test_a_long_file_is_not_shown_whole() -> None:
    assert len(refusal(b"x" * 10_000).message) < 400
