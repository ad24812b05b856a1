"""No value of the settings is on the JVM's command line; a start that fails keeps its log."""

from __future__ import annotations

import atexit
import os
import shlex
import stat
import subprocess
import tempfile
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.embedded.java import find_java, utf8_locale
from iceberg_datamart.errors import ConfigError, MissingPartError
from iceberg_datamart.lake.spark import gateway
from iceberg_datamart.lake.spark.gateway import java_option, java_property, start_gateway

if TYPE_CHECKING:
    from collections.abc import Callable
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
    text = (told / "properties").read_text()
    assert text.index("spark.local.dir=") < text.index("spark.ui.enabled true") < text.index("spark.hadoop")


def test_java_options_that_cannot_be_taken_apart_are_named_and_not_shown(told: Path) -> None:
    name = "spark.driver.extraJavaOptions"
    with pytest.raises(ConfigError, match=rf"spark\.properties\.{name}: no closing quotation$") as caught:
        start_gateway({name: "-Dpassword='Hunter2"})
    assert "Hunter2" not in caught.value.hint
    assert list((told.parent / "shared").iterdir()) == []


# Stands in for the JVM that Spark's scripts start: it says how it was called, and what Java makes of that.
_JAVA = """#!/bin/sh
case "$*" in *org.apache.spark.launcher.Main*) exec {java} "$@";; esac
printf '%s\\n' "$@" > {told}/arguments
for argument in "$@"; do
    case "$argument" in @*) {java} "$argument" -XshowSettings:properties -version 2> {told}/java;; esac
done
exit 3
"""


def test_the_scripts_of_spark_put_no_value_on_the_command_line_and_java_gets_them_all(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = told.parent / "java"
    (home / "bin").mkdir(parents=True)
    real = shlex.quote(str(find_java(os.environ) / "bin" / "java"))
    (home / "bin" / "java").write_text(_JAVA.format(java=real, told=shlex.quote(str(told))))
    (home / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.delenv("SPARK_HOME")
    refused_start()
    arguments = (told / "arguments").read_text()
    properties = (told / "java").read_text()
    assert "org.apache.spark.deploy.SparkSubmit\n--properties-file\n" in arguments
    assert "Hunter2" not in arguments
    for expected in (
        'trustStorePassword = Hunter2 "x"',
        " a = b\n",
        " other = Hunter2\n",
        "java.io.tmpdir = ",
    ):
        assert expected in properties
    assert f"java.io.tmpdir = {told.parent / 'shared'}" in properties
    assert "sun.jnu.encoding = UTF-8" in properties


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Return what is called at this process's end, in place of a call then."""
    found: list[Callable[[], object]] = []
    monkeypatch.setattr(atexit, "register", lambda end, *of: found.append(partial(end, *of)))
    monkeypatch.setattr(gateway, "_SECONDS_TO_END", 0.5)
    return found


def started(monkeypatch: pytest.MonkeyPatch, *program: str) -> SimpleNamespace:
    """Return a gateway that started; in the JVM's place is `program`."""

    def launched(conf: object, kwargs: dict[str, Any]) -> SimpleNamespace:
        assert conf is None
        process = subprocess.Popen(program, stdin=subprocess.PIPE, **kwargs)
        return SimpleNamespace(proc=process, _gateway_client=SimpleNamespace(is_connected=True))

    monkeypatch.setattr(gateway, "launch_gateway", launched)
    return start_gateway(SECRETS)


@pytest.mark.parametrize("program", [["cat"], ["sh", "-c", "exec <&-; exec sleep 60"]], ids=["ends", "hangs"])
def test_after_a_start_only_the_log_is_left_and_after_the_process_nothing(
    told: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[Callable[[], object]],
    program: list[str],
) -> None:
    ended = started(monkeypatch, *program)
    (folder,) = (told.parent / "shared").iterdir()
    assert {path.name for path in folder.iterdir()} == {"lock", "spark.log"}
    (end,) = ends
    end()
    assert ended.proc.returncode is not None
    assert not ended._gateway_client.is_connected, "objects of Java's are not told of any more"
    assert not folder.exists()


def test_the_log_of_a_jvm_that_crashed_stays_and_is_named(
    told: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[Callable[[], object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    started(monkeypatch, "sh", "-c", "echo 'no heap left'; exit 134").proc.wait()
    (end,) = ends
    end()
    (log,) = (told.parent / "shared").glob("*/*")
    assert log.read_text() == "no heap left\n"
    assert str(log) in caplog.text


def test_a_start_that_is_broken_off_leaves_nothing(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gateway, "launch_gateway", broken_off)
    with pytest.raises(KeyboardInterrupt):
        start_gateway(SECRETS)
    assert list((told.parent / "shared").iterdir()) == []


def test_a_line_of_a_properties_file_is_read_as_what_it_says() -> None:
    assert java_property("a b", " c=d#\n\\ö😀") == "a\\ b=\\ c\\=d\\#\\n\\\\\\u00f6\\ud83d\\ude00\n"
    assert java_option('-Da="b\\c"') == '"-Da=\\"b\\\\c\\""\n'
