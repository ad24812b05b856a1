"""A process with an environment of its own that runs programs one after another, in one JVM."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.worlds.laptop import Ended

_TESTS = Path(__file__).parents[2]
# Of a JVM that writes its classes down as it ends, on a machine with much else to do.
_SECONDS_TO_END = 300


class WarmProcess:
    """Runs Python programs as `python PROGRAM ARGUMENTS` does, but for what a start costs each time."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def run(self, program: Path, *arguments: str) -> Ended:
        """Return how the program ended."""
        from support.worlds.laptop import Ended  # noqa: PLC0415  (the process itself needs no test helpers)

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(program), *arguments]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the process ended: {self._log.read_text(errors='replace')}"
        return Ended(*json.loads(answer))


@contextlib.contextmanager
def running(
    directory: Path, environment: Mapping[str, str], python: Path = Path(sys.executable)
) -> Iterator[WarmProcess]:
    """Yield a process of `python` in `directory` whose environment is this one's and `environment`."""
    descriptor, name = tempfile.mkstemp(prefix="warm_process_", suffix=".log", dir=directory)
    os.close(descriptor)
    log = Path(name)
    paths = [str(_TESTS), environment.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [python, "-m", "support.worlds.warm_process", log],
        cwd=directory,
        env={
            **os.environ,
            **environment,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield WarmProcess(process, log)
    finally:
        # Its standard input ends, and with it the loop; Spark ends as in every program.
        process.communicate(timeout=_SECONDS_TO_END)


def _run(words: list[str]) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    code: Any = 0
    sys.argv = words
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return code or 0, stdout.getvalue(), stderr.getvalue()


def _serve(log: Path) -> None:
    """Run what each line of standard input names; answer each with a line. All else goes to the log."""
    with os.fdopen(os.dup(1), "w") as answers, log.open("w") as chatter:
        os.dup2(chatter.fileno(), 1)
        os.dup2(chatter.fileno(), 2)
        for line in sys.stdin:
            print(json.dumps(_run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
