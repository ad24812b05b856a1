"""The benchmark says what was measured, of all processes, and whether a target was met."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timezone
from importlib import import_module
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
IN_PROCESS, SPARK, BY_HAND, DLT = "ours-in-process", "ours-spark", "by-hand", "dlt"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the benchmark's package, whose modules are its attributes."""
    monkeypatch.syspath_prepend(ROOT)
    for name in ("__main__", "contestants", "copied", "measurement", "results", "series", "tables"):
        import_module(f"bench.{name}")
    return import_module("bench")


def measured(bench: SimpleNamespace, operation: str, **seconds: list[float]) -> Any:
    """Return the runs of an operation; CPU is twice the seconds, memory a megabyte for each."""
    found = bench.measure.Measured(operation)
    for name, values in seconds.items():
        for each in values:
            run = bench.measurement.Measurement(each, 2 * each, int(each * 1e6), 3, 4_560_000)
            found.add(name.replace("_", "-"), run)
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_median_of_the_repetitions_is_shown_with_its_ratios(bench: SimpleNamespace) -> None:
    runs = measured(bench, "nothing changed", ours_in_process=[1, 9, 2], by_hand=[10, 4, 50])
    text = bench.results.table("size S", 3, [runs])
    assert "size S; median of 3 runs" in text
    row = next(line for line in text.splitlines() if IN_PROCESS in line)
    expected = ["nothing changed", IN_PROCESS, "2.0", "4.0", "2", "3", "4.56", "0.20", "0.20", "-"]
    assert cells(row) == expected
    verdict = ["nothing changed", "ours-in-process ÷ by-hand", "0.20", "<= 0.25", "met"]
    assert cells(text.splitlines()[-1]) == verdict


def test_a_missed_target_is_called_missed(bench: SimpleNamespace) -> None:
    for own, met in ((50, True), (51, False)):
        runs = measured(bench, "1k clustered", ours_in_process=[own], by_hand=[100])
        assert [verdict.met for verdict in bench.targets.verdicts([runs])] == [met]


def test_peak_memory_has_targets_of_its_own(bench: SimpleNamespace) -> None:
    runs = measured(bench, "10k scattered", ours_in_process=[401])
    (verdict,) = bench.targets.verdicts([runs])
    assert (verdict.target.limit, verdict.target.shown(verdict.value), verdict.met) == (
        "<= 400 MB",
        "401 MB",
        False,
    )


def test_an_operation_without_a_target_has_no_verdict(bench: SimpleNamespace) -> None:
    runs = measured(bench, "100k scattered", ours_in_process=[9], by_hand=[1], ours_spark=[1])
    assert bench.targets.verdicts([runs]) == []


def test_every_target_is_of_an_operation_that_is_measured(bench: SimpleNamespace) -> None:
    operations = {str(delta) for delta in bench.deltas.DELTAS}
    assert {target.operation for target in bench.targets.TARGETS} <= operations
    assert len(operations) == 9


def test_the_columns_of_the_table_are_aligned(bench: SimpleNamespace) -> None:
    lines = bench.results.table("size S", 1, [measured(bench, "100k scattered", dlt=[100])]).splitlines()[2:]
    assert len(lines) == 3
    assert len({tuple(at.start() for at in re.finditer(r"\|", line)) for line in lines}) == 1


def test_each_time_another_contestant_begins(bench: SimpleNamespace) -> None:
    assert [bench.measure.in_turn("abc", turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert bench.measure.in_turn("abc", 4) == ["b", "c", "a"]


def test_the_jobs_written_by_hand_are_proved_against_the_same_join(bench: SimpleNamespace) -> None:
    shown = (files("iceberg_datamart.demo") / "mart.sql").read_text("utf-8")
    names = re.findall(r"\.\w+ as (\w+)", shown)
    assert names
    assert set(names) == set(re.findall(r"\w\.\w+ AS (\w+)", bench.tables.MART_SQL))


@pytest.mark.parametrize(("name", "engine"), [(IN_PROCESS, "in_process"), (SPARK, "spark")])
def test_ours_is_told_its_engine_and_its_report_is_kept(
    bench: SimpleNamespace, tmp_path: Path, name: str, engine: str
) -> None:
    """Its program is a stand-in, which reports its own arguments and writes a file."""
    stand_in, warehouse = tmp_path / "iceberg-datamart", tmp_path / "warehouse"
    script = (
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"pathlib.Path({str(warehouse / 'new.parquet')!r}).write_bytes(bytes(1234))\n"
        "print(json.dumps({'tables': {}, 'marts': {}, 'words': sys.argv[1:]}))\n"
    )
    stand_in.write_text(script, "utf-8")
    stand_in.chmod(0o700)
    warehouse.mkdir()
    (warehouse / "old.parquet").write_bytes(bytes(99))
    job = bench.contestants.Contestant(name, tmp_path, "postgresql://", stand_in)
    run = bench.measurement.run(job)
    words = ["run", "--engine", engine, "--json", "--config", str(tmp_path / "datamart.yaml")]
    assert run.report["words"] == words
    assert (run.files, run.written_bytes) == (1, 1234)


def test_a_contestant_that_fails_is_out_and_the_others_go_on(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = {IN_PROCESS: "print('{}')", SPARK: "import sys; sys.exit('no engine of that name')"}
    jobs = []
    for name, program in programs.items():
        stand_in = tmp_path / name
        stand_in.write_text(f"#!{sys.executable}\n{program}\n", "utf-8")
        stand_in.chmod(0o700)
        jobs.append(bench.contestants.Contestant(name, tmp_path, "postgresql://", stand_in))
    entered, took = bench.measure.Field(jobs), []
    entered.run("full load", lambda name, _: took.append(name))
    entered.run("nothing changed", lambda name, _: took.append(name))
    assert took == [IN_PROCESS, IN_PROCESS]
    assert entered.failed == {SPARK: "full load"}
    assert "no engine of that name" in capsys.readouterr().err


def metered(tmp_path: Path, script: str, limit: float = 60) -> dict[str, float]:
    report = tmp_path / "report.json"
    program = [sys.executable, "-I", "-S", str(ROOT / "bench" / "metered.py"), str(report), str(limit)]
    subprocess.run([*program, sys.executable, "-c", script], check=True)
    found: dict[str, float] = json.loads(report.read_text("utf-8"))
    return found


def test_the_processor_time_of_a_process_that_outlives_its_parent_is_counted(tmp_path: Path) -> None:
    orphan = "import time\nwhile time.process_time() < 0.5: pass"
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}])"
    used = metered(tmp_path, script)
    assert used["exit_code"] == 0
    assert used["cpu_seconds"] >= 0.5
    assert used["seconds"] < used["cpu_seconds"]


def test_memory_is_the_sum_of_all_processes_and_not_that_of_the_benchmark(tmp_path: Path) -> None:
    ballast = bytes(200_000_000)
    holding = "import time; held = b'x' * 60_000_000; time.sleep(0.5)"
    script = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {holding!r}]); {holding}"
    used = metered(tmp_path, script)
    assert len(ballast) == 200_000_000
    assert 120_000_000 < used["peak_bytes"] < 180_000_000


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = "import subprocess; subprocess.Popen(['sleep', '600']).wait()"
    used = metered(tmp_path, script, limit=0.3)
    assert used["exit_code"] != 0
    assert used["seconds"] < 10


def test_what_was_written_are_new_and_changed_files(bench: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("same", "changed", "gone"):
        (tmp_path / name).write_text("x", "utf-8")
    before = bench.measurement.listed(tmp_path)
    (tmp_path / "changed").write_text("xyz", "utf-8")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").write_text("12345", "utf-8")
    (tmp_path / ".new.crc").write_text("of Hadoop", "utf-8")
    assert bench.measurement.written(before, bench.measurement.listed(tmp_path)) == (2, 8)


def test_copied_text_keeps_null_apart_from_the_empty_text(bench: SimpleNamespace) -> None:
    pa = import_module("pyarrow")
    text = BytesIO(b'1,"",t,2025-01-01 00:00:00.5+00\n,,f,\n"3","a\n""b""",,2025-01-01 02:00:00+02\n')
    text.seek(0, 2)
    types = {"n": pa.int64(), "s": pa.string(), "b": pa.bool_(), "at": pa.timestamp("us", "UTC")}
    rows = bench.copied._parsed(text, types).to_pylist()
    half = datetime(2025, 1, 1, 0, 0, 0, 500_000, timezone.utc)
    assert rows == [
        {"n": 1, "s": "", "b": True, "at": half},
        {"n": None, "s": None, "b": False, "at": None},
        {"n": 3, "s": 'a\n"b"', "b": None, "at": half.replace(microsecond=0)},
    ]
    assert bench.copied._parsed(BytesIO(), types).num_rows == 0


def test_late_runs_are_compared_with_early_ones(bench: SimpleNamespace) -> None:
    seconds = [100.0] * 7 + [1, 2, 3, 4, 5] + [100.0] * 183 + [5, 6, 7, 8, 9]
    runs = [bench.measurement.Measurement(each, each, 1) for each in seconds]
    series = bench.series.Series(runs)
    assert len(runs) == 200
    assert (series.median(bench.series.EARLY, "seconds"), series.median(bench.series.LATE, "seconds")) == (
        3,
        7,
    )
    assert series.ratio("seconds") == pytest.approx(7 / 3)
    shown = bench.results.runs_table("S", {IN_PROCESS: series}).splitlines()[-1]
    assert cells(shown) == [IN_PROCESS, "200", "3.00", "7.00", "2.33", "2.33", "1.00"]


def test_growth_is_the_cost_with_most_rows_as_a_multiple_of_that_with_fewest(bench: SimpleNamespace) -> None:
    few = measured(bench, "1k clustered", ours_in_process=[2, 2, 2], ours_spark=[1])
    many = measured(bench, "1k clustered", ours_in_process=[3, 3, 9])
    grown = bench.series.Grown({200_000: few, 10_000_000: many})
    assert grown.ratio(IN_PROCESS, "seconds") == pytest.approx(1.5)
    assert grown.ratio(SPARK, "seconds") is None
    assert "s, 10,000,000 rows" in bench.results.growth_table(grown)


def test_the_results_are_saved_with_ratios_and_targets(bench: SimpleNamespace, tmp_path: Path) -> None:
    runs = measured(bench, "full load", ours_in_process=[3], by_hand=[4], ours_spark=[30])
    saved = json.loads(bench.results.save("M", bench.results.facts_of([runs]), tmp_path).read_text("utf-8"))
    ours = saved["operations"]["full load"][IN_PROCESS]
    assert ours["ratios"]["seconds ÷ by-hand"] == 0.75
    assert ours["ratios"]["cpu_seconds ÷ ours-spark"] == 0.1
    assert ours["runs"][0]["peak_bytes"] == 3_000_000
    assert [each["met"] for each in saved["targets"]] == [True, True]


@pytest.mark.parametrize(
    ("words", "contestants"),
    [
        (["--only", "ours-in-process,by-hand"], [IN_PROCESS, BY_HAND]),
        (["--growth"], [IN_PROCESS, SPARK]),
        (["--runs", "200"], [IN_PROCESS]),
        (["--runs", "200", "--only", SPARK], [SPARK]),
    ],
)
def test_contestants_can_be_chosen(bench: SimpleNamespace, words: list[str], contestants: list[str]) -> None:
    assert bench.__main__.parsed(words).only == contestants


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "theirs"], "'theirs' is none of ours-in-process"),
        (["--runs", "200", "--only", DLT], "'dlt' is none of ours"),
        (["--runs", "19"], "at least 20"),
        (["--growth", "5000"], "two numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    bench: SimpleNamespace, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench.__main__.parsed(words)
    assert said in capsys.readouterr().err
