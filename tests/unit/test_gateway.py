"""No value of the settings is on the JVM's command line; a start that fails keeps its log."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.embedded.java import utf8_locale
from iceberg_datamart.errors import MissingPartError
from iceberg_datamart.lake.gateway import java_option, java_property, start_gateway

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = {
    "spark.hadoop.fs.s3a.secret.key": "Hunter2 = #1",
    "spark.driver.extraJavaOptions": "-Djavax.net.ssl.trustStorePassword='Hunter2 \"x\"' -Da=b",
    "spark.driver.defaultJavaOptions": "-Dother=Hunter2",
}
# Stands in for Spark: it writes down how it was called, and ends as one that cannot start.
_SUBMIT = """#!/bin/sh
printf '%s\\n' "$@" > {told}/arguments
printf '%s' "$LC_ALL" > {told}/locale
cp "$2" {told}/properties
sed -n 's/^spark.driver.extraJavaOptions=@//p' "$2" | tr -d '\\\\' > {told}/named
cp "$(cat {told}/named)" {told}/options
stat -c %a "$2" "$(cat {told}/named)" > {told}/modes
echo 'no heap today' >&2
exit 3
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a Spark that does not start writes down how it was called."""
    folder, home = tmp_path / "told", tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    folder.mkdir()
    submit = home / "bin" / "spark-submit"
    submit.write_text(_SUBMIT.format(told=shlex.quote(str(folder))))
    submit.chmod(0o755)
    monkeypatch.setenv("SPARK_HOME", str(home))
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    return folder


def refused_start(**more: str) -> MissingPartError:
    with pytest.raises(MissingPartError) as caught:
        start_gateway(SECRETS | more)
    return caught.value


def test_no_value_of_the_settings_is_an_argument_but_both_files_hold_them(told: Path) -> None:
    refused_start()
    option, _, *others = (told / "arguments").read_text().splitlines()
    assert (option, others) == ("--properties-file", ["pyspark-shell"])
    assert "Hunter2" not in (told / "arguments").read_text()
    assert r"fs.s3a.secret.key=Hunter2\ \=\ \#1" in (told / "properties").read_text()
    options = (told / "options").read_text().splitlines()
    given = ['"-Dother=Hunter2"', r'"-Djavax.net.ssl.trustStorePassword=Hunter2 \"x\""', '"-Da=b"']
    assert options[0].startswith('"-Djava.io.tmpdir=')
    assert options[1:] == given
    assert "Hunter2" not in (told / "properties").read_text().replace(r"Hunter2\ \=\ \#1", "")
    assert (told / "modes").read_text().split() == ["600", "600"]


def test_a_start_that_fails_keeps_its_log_alone_and_says_where(told: Path) -> None:
    error = refused_start()
    (folder,) = (told.parent / "shared").iterdir()
    (log,) = folder.iterdir()
    assert "no heap today" in error.message
    assert str(log) in error.hint
    assert log.read_text() == "no heap today\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, log)] == [0o700, 0o600]


def test_java_is_started_with_a_locale_that_writes_utf_8(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    refused_start()
    assert (told / "locale").read_text() == utf8_locale() != "C"
    assert os.environ["LC_ALL"] == "C"
    assert "PYSPARK_SUBMIT_ARGS" not in os.environ


def test_the_settings_of_the_machine_stand_before_ours(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = told.parent / "conf" / "spark-defaults.conf"
    defaults.parent.mkdir()
    defaults.write_text("spark.ui.enabled true")
    monkeypatch.setenv("SPARK_CONF_DIR", str(defaults.parent))
    refused_start()
    assert (told / "properties").read_text().startswith("spark.ui.enabled true\nspark.local.dir=")


def test_a_line_of_a_properties_file_is_read_as_what_it_says() -> None:
    assert java_property("a b", " c=d#\n\\ö😀") == "a\\ b=\\ c\\=d\\#\\n\\\\\\u00f6\\ud83d\\ude00\n"
    assert java_option('-Da="b\\c"') == '"-Da=\\"b\\\\c\\""\n'
