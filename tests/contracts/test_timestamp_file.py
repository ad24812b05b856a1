"""What every timestamp file does, the one in memory and the one on disk (R5, R6)."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING

import boto3
import pytest

from iceberg_datamart.app.assemble import timestamp_file
from iceberg_datamart.errors import (
    ConfigError,
    DatamartError,
    StateRefusedError,
    TimestampFileConflictError,
    TimestampFileError,
)
from iceberg_datamart.stores.timestamp_file import LocalTimestampFile
from support.fakes.ports import FakeTimestampFile
from support.faults.s3_faults import proxied
from support.servers import s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iceberg_datamart.ports import TimestampFile
    from support.faults.s3_faults import Faults, Request
    from support.servers.s3_server import S3Server

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
THREADS, PROCESSES, ROUNDS = 16, 8, 5


@dataclass(frozen=True)
class Kept:
    """A timestamp file, and its bytes as an operator sees and writes them."""

    file: TimestampFile
    content: Callable[[], bytes | None]
    write: Callable[[bytes], object]


# Signs that stand for something in URLs, and for themselves in keys.
SIGNS = "what? #1 100%25"


@pytest.fixture(params=["memory", "disk", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "memory":
        fake = FakeTimestampFile()
        return Kept(fake, lambda: fake.content, partial(setattr, fake, "content"))
    if request.param == "s3":
        return on_s3(request.getfixturevalue("s3"), f"{tmp_path.name}/{SIGNS}/last.csv")
    path = tmp_path / "state of things" / "last.csv"

    def write(content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    return Kept(timestamp_file(str(path), {}), lambda: path.read_bytes() if path.exists() else None, write)


def on_s3(server: S3Server, key: str) -> Kept:
    """Return a timestamp file in the bucket of a real S3 server."""
    client = server.client()

    def content() -> bytes | None:
        try:
            return client.get_object(Bucket=s3_server.BUCKET, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None

    file = timestamp_file(f"s3://{s3_server.BUCKET}/{key}", server.properties)
    write = partial(client.put_object, Bucket=s3_server.BUCKET, Key=key)
    return Kept(file, content, lambda found: write(Body=found))


def test_a_missing_file_says_nothing(kept: Kept) -> None:
    assert kept.file.read() is None
    assert kept.content() is None


def test_what_is_written_is_read_back_and_has_exactly_the_form(kept: Kept) -> None:
    kept.file.write(NOON, None)
    assert kept.file.read() == NOON
    assert kept.content() == b"last_load_timestamp\n2026-03-01 12:00:00\n"


def test_r6_an_instant_is_floored_to_the_second_and_written_in_utc(kept: Kept) -> None:
    berlin = timezone(timedelta(hours=1))
    kept.file.write(datetime(2026, 3, 1, 13, 0, 0, 999_999, tzinfo=berlin), None)
    assert kept.file.read() == NOON


def test_the_next_write_expects_the_last(kept: Kept) -> None:
    kept.file.write(NOON, None)
    kept.file.write(NOON + SECOND, NOON)
    assert kept.file.read() == NOON + SECOND


@pytest.mark.parametrize("expected", [None, NOON - SECOND, NOON + SECOND])
def test_a_write_over_what_was_not_expected_is_refused_and_changes_nothing(
    kept: Kept, expected: datetime | None
) -> None:
    kept.file.write(NOON, None)
    before = kept.content()
    with pytest.raises(TimestampFileConflictError) as caught:
        kept.file.write(NOON + 9 * SECOND, expected)
    assert kept.content() == before
    assert (caught.value.exit_code, caught.value.retryable) == (75, True)


def test_a_write_that_expects_a_file_refuses_where_it_is_gone(kept: Kept) -> None:
    with pytest.raises(TimestampFileConflictError):
        kept.file.write(NOON + SECOND, NOON)
    assert kept.content() is None


def test_r5_a_malformed_file_is_an_error_to_read_and_to_replace(kept: Kept) -> None:
    kept.write(b"last_load_timestamp\nyesterday\n")
    with pytest.raises(TimestampFileError, match="'yesterday'"):
        kept.file.read()
    with pytest.raises(TimestampFileError, match="'yesterday'"):
        kept.file.write(NOON, None)
    assert kept.content() == b"last_load_timestamp\nyesterday\n"


def test_a_file_that_a_person_wrote_with_another_editor_is_read_and_replaced(kept: Kept) -> None:
    kept.write(b"\xef\xbb\xbflast_load_timestamp\r\n2026-03-01 12:00:00\r\n")
    assert kept.file.read() == NOON
    kept.file.write(NOON + SECOND, NOON)
    assert kept.content() == b"last_load_timestamp\n2026-03-01 12:00:01\n"


# --- compare and swap


def tried(file: TimestampFile, instant: datetime, expected: datetime | None) -> bool:
    try:
        file.write(instant, expected)
    except TimestampFileConflictError:
        return False
    return True


def test_of_16_threads_exactly_one_wins_each_round(kept: Kept) -> None:
    expected = None
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(ROUNDS):
            instants = [NOON + (number * THREADS + own) * SECOND for own in range(1, THREADS + 1)]
            won = list(pool.map(partial(tried, kept.file, expected=expected), instants))
            assert won.count(True) == 1
            expected = kept.file.read()
            assert expected == instants[won.index(True)]


def _race(path: Path, own: int, start: multiprocessing.synchronize.Barrier, rounds: int) -> list[bool]:
    """Try to move the file once a round, from what it said when the round began."""
    file, won = LocalTimestampFile(path), []
    for number in range(rounds):
        start.wait()
        expected = file.read()
        start.wait()
        won.append(tried(file, NOON + (number * PROCESSES + own + 1) * SECOND, expected))
    return won


def _racer(path: Path, own: int, start: multiprocessing.synchronize.Barrier, results: object) -> None:
    results.put(_race(path, own, start, ROUNDS))  # type: ignore[attr-defined]


def test_of_8_processes_exactly_one_wins_each_round(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(PROCESSES), context.Queue()
    path = tmp_path / "last.csv"
    racers = [
        context.Process(target=_racer, args=(path, own, start, results), daemon=True)
        for own in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    won = [results.get(timeout=20) for _ in racers]
    for racer in racers:
        racer.join(timeout=20)
    assert [sum(each) for each in zip(*won, strict=True)] == [1] * ROUNDS


# --- a store without conditional writes


@dataclass(frozen=True)
class Unguarded:
    """A timestamp file on a real server behind a proxy that refuses conditional writes."""

    kept: Kept
    faults: Faults


@pytest.fixture
def unguarded(s3: S3Server, tmp_path: Path) -> Iterator[Unguarded]:
    with proxied(s3.endpoint) as (endpoint, faults):
        faults.refused = lambda request: "NotImplemented" if request.is_conditional else None
        key = f"{tmp_path.name}/last.csv"
        through_proxy = on_s3(replace(s3, endpoint=endpoint), key).file
        yield Unguarded(replace(on_s3(s3, key), file=through_proxy), faults)


def test_a_store_that_refuses_conditional_writes_is_written_with_a_warning(
    unguarded: Unguarded, caplog: pytest.LogCaptureFixture
) -> None:
    file = unguarded.kept.file
    file.write(NOON, None)
    file.write(NOON + SECOND, NOON)
    assert unguarded.kept.content() == b"last_load_timestamp\n2026-03-01 12:00:01\n"
    assert unguarded.faults.fired["NotImplemented"] == 2
    assert caplog.text.count("refuses conditional writes; overlapping runs may race") == 2


@pytest.mark.parametrize("present", [None, b"last_load_timestamp\n2026-03-01 12:00:00\n"])
def test_what_another_run_writes_before_the_second_look_stays(
    unguarded: Unguarded, present: bytes | None
) -> None:
    kept, theirs = unguarded.kept, b"last_load_timestamp\n2026-03-01 12:00:30\n"
    if present is not None:
        kept.write(present)
    refuse = unguarded.faults.refused

    def overtaken(request: Request) -> str | None:
        """Let the other run write at the last instant at which a store with conditions would notice."""
        if request.is_conditional:
            kept.write(theirs)
        return refuse(request)

    unguarded.faults.refused = overtaken
    with pytest.raises(TimestampFileConflictError, match="12:00:30"):
        kept.file.write(NOON + SECOND, None if present is None else NOON)
    assert kept.content() == theirs


def test_a_file_that_is_removed_before_the_second_look_is_not_made_again(
    unguarded: Unguarded, s3: S3Server, tmp_path: Path
) -> None:
    kept, key = unguarded.kept, f"{tmp_path.name}/last.csv"
    kept.file.write(NOON, None)
    refuse = unguarded.faults.refused

    def removed(request: Request) -> str | None:
        if request.is_conditional:
            s3.client().delete_object(Bucket=s3_server.BUCKET, Key=key)
        return refuse(request)

    unguarded.faults.refused = removed
    with pytest.raises(TimestampFileConflictError):
        kept.file.write(NOON + SECOND, NOON)
    assert kept.content() is None


# --- the file on disk


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file = LocalTimestampFile(tmp_path / "last.csv")
    file.write(NOON, None)

    def move(_: int) -> None:
        for _ in range(50):
            present = file.read()
            assert present is not None
            tried(file, present + SECOND, present)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, range(4)))
    assert (file.read() or NOON) > NOON


def test_nothing_but_the_file_and_its_lock_is_left_in_the_folder(tmp_path: Path) -> None:
    file = LocalTimestampFile(tmp_path / "last.csv")
    file.write(NOON, None)
    file.write(NOON + SECOND, NOON)
    assert {path.name for path in tmp_path.iterdir()} <= {"last.csv", "last.csv.lock"}


def test_a_draft_that_a_crash_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    file = LocalTimestampFile(tmp_path / "last.csv")
    (tmp_path / "last.csv.new").write_text("half a fi")
    assert file.read() is None
    file.write(NOON, None)
    assert file.read() == NOON


def test_a_file_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "last.csv").mkdir()
    with pytest.raises(TimestampFileError, match="cannot be read"):
        LocalTimestampFile(tmp_path / "last.csv").read()


@pytest.mark.parametrize("name", ["last.csv.lock", "last.csv.new"])
def test_a_file_that_cannot_be_written_is_an_error_of_this_package(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "in the way").mkdir(parents=True)
    with pytest.raises(DatamartError, match=r"last\.csv"):
        LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_path_or_a_file_url_names_the_file(tmp_path: Path, form: str) -> None:
    file = timestamp_file(form.format(tmp_path / "last.csv"), {})
    file.write(NOON, None)
    assert (tmp_path / "last.csv").exists()


def test_a_file_url_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "state of #1?" / "last.csv"
    timestamp_file(path.as_uri(), {}).write(NOON, None)
    assert path.exists()


@pytest.mark.parametrize(
    "place",
    ["ftp://server/last.csv", "s3:/bucket/last.csv", "s3a://bucket/last.csv", "file:///state#1/last.csv"],
)
def test_a_place_of_another_kind_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"state\.timestamp_file"):
        timestamp_file(place, {})


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/", "s3://bucket/folder/", "s3:///last.csv"])
def test_an_address_without_an_object_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"folder|form"):
        timestamp_file(place, {})


@pytest.mark.parametrize(
    ("bucket", "properties"),
    [("no such bucket!", {}), ("not-there", {}), (s3_server.BUCKET, {"s3.secret-access-key": "another"})],
)
def test_what_stays_wrong_however_often_it_is_tried_is_no_reason_to_run_again(
    s3: S3Server, bucket: str, properties: dict[str, str]
) -> None:
    file = timestamp_file(f"s3://{bucket}/last.csv", {**s3.properties, **properties})
    with pytest.raises(StateRefusedError, match=bucket) as caught:
        file.read()
    assert (caught.value.exit_code, caught.value.retryable) == (1, False)


def test_an_s3_without_keys_is_no_reason_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    # Whichever test of this process asked AWS first, its keys are kept there.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StateRefusedError, match="credentials"):
        timestamp_file("s3://bucket/last.csv", {"s3.endpoint": "http://127.0.0.1:9"}).read()
