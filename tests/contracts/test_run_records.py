"""What the records of runs do on a disk and on S3: whole or not there, bounded, told newest first."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.app.run_records import newest_records, run_records
from iceberg_datamart.core.report.record import RunRecord
from iceberg_datamart.core.report.run import MERGED, Outcome, RunReport
from iceberg_datamart.errors import StateRefusedError
from support.fakes.ports import NOON, configured
from support.faults.s3_faults import proxied
from support.servers import s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from iceberg_datamart.core.settings.model import Config
    from support.servers.s3_server import S3Server

MOST = 5


@dataclass(frozen=True)
class Kept:
    """A timestamp file's records, and the files of their folder as an operator sees and writes them."""

    config: Config
    names: Callable[[], set[str]]
    put: Callable[[str, bytes], object]

    def write(self, *records: RunRecord) -> None:
        for each in records:
            run_records(self.config).write(each)


@pytest.fixture(params=["disk", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "s3":
        return on_s3(request.getfixturevalue("s3"), f"records {tmp_path.name}/what? #1")
    return on_disk(tmp_path / "state of things")


def on_disk(folder: Path) -> Kept:
    def put(name: str, content: bytes) -> None:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        (folder / "runs" / name).write_bytes(content)

    config = settings_of(str(folder / "last.csv"), {})
    return Kept(config, lambda: {path.name for path in (folder / "runs").glob("*")}, put)


def on_s3(server: S3Server, prefix: str) -> Kept:
    client, place = server.client(), {"Bucket": s3_server.BUCKET}

    def names() -> set[str]:
        found = client.list_objects_v2(**place, Prefix=f"{prefix}/runs/")
        return {each["Key"].rpartition("/")[2] for each in found.get("Contents", [])}

    def put(name: str, content: bytes) -> None:
        client.put_object(**place, Key=f"{prefix}/runs/{name}", Body=content)

    config = settings_of(f"s3://{s3_server.BUCKET}/{prefix}/last.csv", server.properties)
    return Kept(config, names, put)


def settings_of(timestamp_file: str, properties: Mapping[str, str]) -> Config:
    catalog = {"type": "sql", "uri": "sqlite://", "warehouse": "lake", "properties": dict(properties)}
    state = {"timestamp_file": timestamp_file, "run_records": MOST}
    return configured("account", catalog=catalog, state=state)


def record(number: int, timestamp_file: str = "last.csv") -> RunRecord:
    """Return the record of a run that began so many minutes after noon."""
    began = NOON + number * timedelta(minutes=1)
    outcome = Outcome(MERGED, rows_read=3, inserted=2, updated=1, snapshot_id=7, seconds=0.5)
    run_id = f"{began.strftime('%Y%m%dT%H%M%S.%fZ')}-{number:08x}"
    return RunRecord(
        run_id=run_id,
        started=began,
        ended=began + timedelta(seconds=2),
        timestamp_file=timestamp_file,
        request={"load_type": "incremental", "tables": [], "accept_new_source": False, "snapshot_id": None},
        versions={"python": "3.11.9"},
        plan={"timestamp": None, "steps": [], "warnings": ["größer \udc80"]},
        report=RunReport(run_id, {"account": outcome}, {}).as_json(),
        exit_code=0,
    )


def test_what_is_written_is_read_back_the_newest_first(kept: Kept) -> None:
    assert [*newest_records(kept.config, 9)] == []
    kept.write(record(1), record(3), record(2))
    assert [*newest_records(kept.config, 9)] == [record(3), record(2), record(1)]
    assert [*newest_records(kept.config, 2)] == [record(3), record(2)]
    assert kept.names() == {f"{record(number).run_id}.json" for number in (1, 2, 3)}


def test_a_record_is_found_by_its_id_or_by_the_end_of_it_and_by_nothing_else(kept: Kept) -> None:
    kept.write(record(1), record(2))
    kept.put("last.csv", b"last_load_timestamp\n")
    records = run_records(kept.config)
    assert records.find(record(1).run_id) == records.find("00000001") == record(1)
    for stranger in ("1", "", record(3).run_id, "last", "../last", "../last.csv", record(1).run_id + ".json"):
        assert records.find(stranger) is None


def test_the_oldest_give_way_beyond_the_bound_and_no_other_file_does(kept: Kept) -> None:
    kept.put("0 notes of an operator.json", b"{}")
    kept.put(f"{record(0).run_id}.new", b"half a rec")  # which a killed run left
    kept.write(*map(record, range(1, MOST)))
    assert len(kept.names()) == MOST + 1
    kept.write(record(MOST), record(MOST + 1))
    newest = {f"{record(number).run_id}.json" for number in range(2, MOST + 2)}
    assert kept.names() == newest | {"0 notes of an operator.json"}


def test_a_file_that_is_no_record_is_passed_over(kept: Kept) -> None:
    kept.write(record(1))
    whole = record(1).as_json()
    for number, content in enumerate(
        [b"", b'{"version": 1', json.dumps({**whole, "version": 2}).encode()], 2
    ):
        kept.put(f"{record(number).run_id}.json", content)
    assert [*newest_records(kept.config, 9)] == [record(1)]
    assert run_records(kept.config).find(record(2).run_id) is None


def test_runs_of_another_timestamp_file_in_the_same_folder_are_not_told(kept: Kept) -> None:
    kept.write(record(1), record(2, "others.csv"), record(3))
    assert [*newest_records(kept.config, 2)] == [record(3), record(1)]


# --- on a disk


def test_a_record_is_its_owners_alone(tmp_path: Path) -> None:
    on_disk(tmp_path).write(record(1))
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "runs", *(tmp_path / "runs").iterdir())
    ]
    assert modes == [0o700, 0o600]


def test_a_disk_that_takes_no_more_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: both fail in the midst of a write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StateRefusedError, match="runs cannot be written"):
            on_disk(tmp_path).write(record(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_process_killed_while_it_writes_leaves_no_torn_record(tmp_path: Path) -> None:
    kept = on_disk(tmp_path)
    kept.write(record(1))
    child = os.fork()
    if child == 0:
        # The kernel kills whoever writes beyond the limit; Python by itself ignores that signal.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        kept.write(record(2))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGXFSZ
    assert [*newest_records(kept.config, 9)] == [record(1)]
    assert f"{record(2).run_id}.json" not in kept.names()


# --- on S3


def test_s3_is_asked_once_for_the_list_and_once_for_each_record_that_is_wanted(
    s3: S3Server, tmp_path: Path
) -> None:
    kept = on_s3(s3, tmp_path.name)
    with proxied(s3.endpoint) as (endpoint, faults):
        near = replace(on_s3(replace(s3, endpoint=endpoint), tmp_path.name), names=kept.names)
        near.write(*map(record, range(MOST)))
        assert faults.requests == 2 * MOST, "a put and a list for each"
        near.write(record(MOST))
        assert faults.requests == 2 * MOST + 3, "and one more to remove what is beyond the bound"
        assert len(kept.names()) == MOST
        faults.requests = 0
        assert list(islice(run_records(near.config).newest(), 2)) == [record(MOST), record(MOST - 1)]
        assert faults.requests == 3


@pytest.mark.parametrize("method", ["PUT", "GET", "POST"])
def test_an_s3_that_refuses_is_an_error_of_this_package(s3: S3Server, tmp_path: Path, method: str) -> None:
    on_s3(s3, tmp_path.name).write(*map(record, range(MOST)))
    with proxied(s3.endpoint) as (endpoint, faults):
        faults.refused = lambda request: "AccessDenied" if request.method == method else None
        with pytest.raises(StateRefusedError, match="AccessDenied"):
            on_s3(replace(s3, endpoint=endpoint), tmp_path.name).write(record(MOST))
