"""Start the JVM of an embedded Spark: no setting on its command line, log and scratch in a private folder."""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

from pyspark.java_gateway import launch_gateway

from iceberg_datamart.embedded.java import utf8_locale
from iceberg_datamart.embedded.scratch import Scratch, make_scratch
from iceberg_datamart.errors import ConfigError, MissingPartError
from iceberg_datamart.underway.stopping import end_children, remove_at_stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from subprocess import Popen

_logger = logging.getLogger(__name__)

_LOG = "spark.log"
_JAVA_OPTIONS = ("spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions")
_SUBMIT = "PYSPARK_SUBMIT_ARGS"
_SECONDS_TO_END = 60
_SECONDS_AT_STOP = 0.6
_ESCAPES = {
    "\\": r"\\",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    " ": r"\ ",
    ":": r"\:",
    "=": r"\=",
    "#": r"\#",
    "!": r"\!",
}


def start_gateway(settings: Mapping[str, str]) -> Any:
    """Return the gateway to a new JVM. Scratch is in a private folder, unless settings say where.

    Raises: ConfigError for Java options that cannot be taken apart; MissingPartError that names the log.
    """
    options = [option for name in _JAVA_OPTIONS for option in _split(name, settings.get(name, ""))]
    scratch = make_scratch()
    started = remove_at_stop(end_children)  # of which PySpark does not tell before the JVM answers
    try:
        gateway = _launched(scratch, _written(scratch, options, settings))
    except Exception as error:
        raise _not_started(scratch, error) from error
    except BaseException:
        scratch.remove()
        raise
    finally:
        started()
    remove_at_stop(partial(_end_jvm, gateway.proc, _SECONDS_AT_STOP))
    atexit.register(_end, gateway, scratch, os.getpid())
    return gateway


def _split(name: str, options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        message = f"spark.properties.{name}: {str(error).lower()}"  # but not the value, which may be secret
        raise ConfigError(
            message, hint="Close each quotation mark, or write a backslash before it."
        ) from None


def _launched(scratch: Scratch, written: tuple[Path, Path]) -> Any:
    with scratch.opened(_LOG) as log, _environment(scratch, written[0]):
        # The JVM holds the folder's lock as well: it may outlive a process that was killed.
        gateway = launch_gateway(None, {"stdout": log, "stderr": log, "pass_fds": (scratch.lock,)})
    for file in written:
        file.unlink()
    return gateway


def _written(scratch: Scratch, options: Iterable[str], settings: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the files of Spark's properties and of Java's options: an argument can be read by all users.

    Spark puts Java's options on the command line; there `@file` stands for them (Java 9 and later).
    """
    java = scratch.path / "java.options"
    places = {"spark.local.dir": "spark", "spark.sql.warehouse.dir": "warehouse"}
    submitted = {name: value for name, value in settings.items() if name not in _JAVA_OPTIONS}
    submitted[_JAVA_OPTIONS[-1]] = shlex.quote(f"@{java}")
    with scratch.opened(java.name) as file:
        file.writelines(java_option(each) for each in (f"-Djava.io.tmpdir={scratch.path}", *options))
    with scratch.opened("spark.properties") as file:  # of several values the last one counts
        file.writelines(java_property(name, str(scratch.path / folder)) for name, folder in places.items())
        file.write(_cluster_defaults())
        file.writelines(java_property(name, value) for name, value in submitted.items())
    return scratch.path / "spark.properties", java


def _cluster_defaults() -> str:
    """Return this machine's spark-defaults.conf, which Spark does not read beside another properties file."""
    home = os.environ.get("SPARK_HOME")
    folder = os.environ.get("SPARK_CONF_DIR") or (home and f"{home}/conf")
    file = Path(folder or "", "spark-defaults.conf")
    return file.read_text("utf-8") + "\n" if folder and file.is_file() else ""


def java_option(option: str) -> str:
    """Return a line of a file of options for `java`, which stands for `option` as it is."""
    escaped = option.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").replace("\r", r"\r")
    return f'"{escaped}"\n'


def java_property(name: str, value: str) -> str:
    """Return a line of a Java properties file that gives `name` exactly `value`."""
    return f"{_escaped(name)}={_escaped(value)}\n"


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    signs = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    plain = (chr(sign) if chr(sign).isascii() else f"\\u{sign:04x}" for sign in signs)
    return "".join(_ESCAPES.get(sign, sign) for sign in plain)


@contextmanager
def _environment(scratch: Scratch, properties: Path) -> Iterator[None]:
    """Let PySpark start the JVM by this process's environment, which is as it was afterwards."""
    theirs = os.environ.get(_SUBMIT, "pyspark-shell")
    changed = {_SUBMIT: f"--properties-file {shlex.quote(str(properties))} {theirs}"}
    if locale := utf8_locale():
        changed["LC_ALL"] = locale  # Java takes from it in which bytes it names files
    before = {name: os.environ.get(name) for name in changed}
    folder = tempfile.tempdir
    os.environ.update(changed)
    tempfile.tempdir = str(scratch.path)  # where PySpark waits for the JVM's answer
    try:
        yield
    finally:
        tempfile.tempdir = folder
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _not_started(scratch: Scratch, error: Exception) -> MissingPartError:
    log = scratch.path / _LOG
    tail = " ".join(log.read_text(errors="replace").splitlines()[-5:])
    scratch.keep_only(_LOG)
    message = f"Spark did not start: {tail or error}"
    return MissingPartError(message, hint=f"The whole log is in {log}; it is removed after a week.")


def _end(gateway: Any, scratch: Scratch, process: int) -> None:
    """End the JVM, which removes what is its own, and remove the folder; the log of a crashed JVM stays."""
    if os.getpid() != process:
        return
    # Else Py4J logs an error for each object of Java's that Python frees from here on.
    gateway._gateway_client.is_connected = False  # noqa: SLF001
    jvm = gateway.proc
    if jvm.poll() is not None:
        scratch.keep_only(_LOG)
        _logger.warning("Spark's JVM has crashed; its log is in %s", scratch.path / _LOG)
        return
    _end_jvm(jvm, _SECONDS_TO_END)
    scratch.remove()


def _end_jvm(jvm: Popen[bytes], seconds: float) -> None:
    """Let the JVM end itself, and kill it if it does not."""
    assert jvm.stdin is not None  # noqa: S101  (PySpark pipes it)
    jvm.stdin.close()  # it waits for this
    try:
        jvm.wait(seconds)
    except (TimeoutExpired, KeyboardInterrupt):  # all is done but this: nobody need wait
        jvm.kill()
        jvm.wait()
