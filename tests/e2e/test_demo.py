"""The demo tells its story, its proof sees what is wrong, and one can go on with its folder."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from iceberg_datamart.app.settings_file import parse_config
from iceberg_datamart.demo.folder import DemoFolder
from iceberg_datamart.demo.proof import CHANGED, EXTRA, MART, MISSING, prove
from iceberg_datamart.demo.settings import config_text, with_url
from support.worlds.laptop import PROGRAM, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shops.loaded_shop import LoadedShop

TABLES = ("account", "account_metadata", "account_risk", "queue", "settlement_transaction", "adjustment")
# What URLs, YAML, SQLite and Hadoop each take for something else.
FOLDER = "my demo #1, 100%20 'it'"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder above the demo's; whatever a test left running is stopped."""
    directory = tmp_path_factory.mktemp("place")
    yield directory
    if DemoFolder(directory / FOLDER).is_made:
        DemoFolder(directory / FOLDER).stop()


@pytest.fixture(scope="module")
def told(place: Path) -> subprocess.CompletedProcess[str]:
    """Return the whole demo, told to a file by a process of its own, with the settings as shipped."""
    words = [PROGRAM, "demo", "--rows", "1000", "--directory", FOLDER]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def spark(loaded_shop: LoadedShop) -> None:
    """Have the JVM of this process started by small settings, which a demo's are not."""
    assert loaded_shop


@pytest.fixture
def folder(place: Path, told: subprocess.CompletedProcess[str]) -> DemoFolder:
    assert told.returncode == 0, told.stderr
    return DemoFolder(place / FOLDER)


def differences(folder: DemoFolder, url: str) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    return {
        proof.table: [(each.kind, each.key) for each in proof.comparison.first]
        for proof in prove(folder.config(), url)
        if not proof.comparison.equal
    }


@pytest.mark.usefixtures("folder")
def test_every_table_equals_what_postgresql_says(told: subprocess.CompletedProcess[str]) -> None:
    proof = told.stdout.partition("The proof")[2].partition("Go on")[0].splitlines()
    assert {
        line.split()[0]: line.split()[2] for line in proof[-len(TABLES) - 2 :] if line.split()
    } == dict.fromkeys([*TABLES, MART], "equal")


@pytest.mark.usefixtures("folder")
def test_the_late_rows_are_read_by_the_run_after_their_commit(told: subprocess.CompletedProcess[str]) -> None:
    after = told.stdout.partition("A late commit")[2].partition("Full load")[0].splitlines()
    merged = {line.split()[0]: line.split()[3:6] for line in after if " merged " in line}
    assert merged["settlement_transaction"] == ["2", "0", "0"]
    assert merged["adjustment"] == ["1", "0", "0"]
    assert merged["account_risk"] == ["0", "3", "0"]


@pytest.mark.usefixtures("folder")
def test_the_story_fits_80_columns_and_leaves_progress_to_standard_error(
    told: subprocess.CompletedProcess[str],
) -> None:
    tables = [line for line in told.stdout.splitlines() if "  " in line.strip() or "──" in line]
    assert max(map(len, tables)) <= 80
    assert "INFO" not in told.stdout
    assert "INFO" in told.stderr


def test_the_password_is_for_the_owner_alone(folder: DemoFolder) -> None:
    password = psycopg.conninfo.conninfo_to_dict(folder.start())["password"]
    assert stat.S_IMODE(folder.config_file.stat().st_mode) == 0o600
    for root, _, names in os.walk(folder.directory):
        for name in names:
            path = Path(root, name)
            if path != folder.config_file and stat.S_IMODE(path.stat().st_mode) & 0o077:
                assert str(password).encode() not in path.read_bytes(), path


@pytest.mark.usefixtures("spark")
def test_the_commands_that_it_names_work(
    told: subprocess.CompletedProcess[str],
    folder: DemoFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = [line.strip() for line in told.stdout.splitlines() if "iceberg-datamart " in line]
    verbs = ["status", "history", "demo", "run", "demo"]
    assert [line.partition("iceberg-datamart ")[2].split()[0] for line in named] == verbs
    monkeypatch.chdir(folder.directory.parent)
    shown = subprocess.run(["sh", "-c", named[0]], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    program, *_ = words_for_the_shell(named[0])
    for line in named:
        first, *words = words_for_the_shell(line)
        assert first == program
        ended = within(*words)
        assert ended.exit_code == 0, (line, ended.stderr)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url_of(folder), connect_timeout=2)


def words_for_the_shell(line: str) -> list[str]:
    """Return the words into which a shell takes a line apart."""
    script = f"""for word in {line}; do printf '%s\\0' "$word"; done"""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.removesuffix("\0").split("\0")


@pytest.mark.usefixtures("spark")
def test_a_change_is_read_by_the_next_run_and_its_deletes_by_the_next_full_load(folder: DemoFolder) -> None:
    config = ("--config", str(folder.config_file), "--json")
    changed = within("demo", "--directory", str(folder.directory), "--change", "--json")
    assert changed.report["changes"]["transactions_inserted"] == 100
    for load_type in ("incremental", "full"):
        ended = within("run", *config, "--load-type", load_type)
        assert ended.exit_code == 0, ended.stderr
        extra = {
            table for table, found in differences(folder, folder.start()).items() if found[0][0] == EXTRA
        }
        assert extra == ({"queue", "adjustment", MART} if load_type == "incremental" else set())


def test_the_proof_sees_what_the_job_could_not(folder: DemoFolder) -> None:
    url = folder.start()
    with psycopg.connect(url) as connection:
        connection.execute("update settlement_transaction set memo = null where memo is not null")
        connection.execute("update account_metadata set preferences = '{}' where id = 3")
        connection.execute("delete from account_risk where id = 5")
        connection.execute("update account set id = 1000001 where id = 7")
    found = differences(folder, url)
    assert {kind for kind, _ in found["settlement_transaction"]} == {CHANGED}
    assert found["account_metadata"] == [(CHANGED, (3,))]
    assert found["account_risk"] == [(EXTRA, (5,))]
    assert found["account"] == [(EXTRA, (7,)), (MISSING, (1000001,))]
    assert found[MART]


def test_a_second_demo_in_the_same_folder_is_refused(folder: DemoFolder) -> None:
    result = within("demo", "--directory", str(folder.directory))
    assert result.exit_code == 1
    assert "--fresh" in result.stderr
    assert not result.stdout


@pytest.mark.usefixtures("spark")
def test_fresh_starts_anew_and_leaves_other_files(folder: DemoFolder) -> None:
    own = folder.directory / "notes.txt"
    own.write_text("mine")
    ended = within("demo", "--rows", "500", "--fresh", "--json", "-d", str(folder.directory))
    assert ended.exit_code == 0, ended.stderr
    shown = ended.report
    assert shown["status"] == "succeeded"
    assert [step["load_type"] for step in shown["steps"]] == ["full", "incremental", "incremental", "full"]
    assert {name: proof["equal"] for name, proof in shown["proof"].items()} == dict.fromkeys(
        [*TABLES, MART], True
    )
    assert own.read_text() == "mine"


def test_fresh_removes_nothing_that_is_no_demo(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    result = within("demo", "--fresh", "--directory", str(tmp_path))
    assert result.exit_code == 1
    assert "precious.txt" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_folder_that_a_catalog_address_cannot_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = within("demo", "--directory", "what?")
    assert result.exit_code == 1
    assert "'?'" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--change", "--stop"])
def test_there_must_be_a_demo_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = within("demo", option)
    assert result.exit_code == 1
    assert "There is no demo" in result.stderr


def test_the_settings_name_the_same_places_whatever_the_path(tmp_path: Path) -> None:
    directory = tmp_path / "a \"b\" 'c' \\ ${HOME} %41 #d: {e}"
    config = parse_config(config_text(directory, "postgresql://u:p%25@h:1/prd"), {}, "x")
    assert config.catalog.uri == f"sqlite:///{directory}/catalog.db"
    assert config.catalog.warehouse == f"{directory}/warehouse"
    assert config.state.timestamp_file == f"{directory}/last_load_timestamp.csv"
    assert tuple(config.tables) == TABLES
    moved = parse_config(
        with_url(config_text(directory, "postgresql://a@h/b"), "postgresql://c@h/d"), {}, "x"
    )
    assert moved.sources["prd"].url == "postgresql://c@h/d"


def url_of(folder: DemoFolder) -> str:
    return folder.config().sources["prd"].url
