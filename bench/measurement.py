"""One run of a contestant: its time, its memory, and what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contestants import OURS, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contestants import Contestant

# No run of a sane job takes so long on any of the sizes.
LIMIT_SECONDS = 3600.0

# A file's path, with what tells another version of it.
Listing = dict[Path, tuple[int, int]]


class RunFailedError(Exception):
    """A contestant ended with another exit code than 0."""


@dataclass(frozen=True)
class Measurement:
    """What one run used, from the start of its process to the end of all that it started."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    files: int = 0
    written_bytes: int = 0
    report: dict[str, Any] = field(default_factory=dict, repr=False)

    def figures(self) -> dict[str, float]:
        """Return all but the report, rounded."""
        plain = {name: value for name, value in asdict(self).items() if name != "report"}
        return {name: round(value, 3) for name, value in plain.items()}


def run(job: Contestant, limit: float = LIMIT_SECONDS) -> Measurement:
    """Run a contestant and return what it used. Raises: RunFailedError with what it said."""
    before = listed(job.warehouse)
    with tempfile.TemporaryDirectory(prefix="iceberg-datamart-metered-") as folder:
        used, said = metered(job.command, job.environment, Path(folder), limit)
    if used.pop("exit_code") != 0:
        message = f"{job.name} failed after {used['seconds']:.0f} s:\n{said}"
        raise RunFailedError(message)
    files, written_bytes = written(before, listed(job.warehouse))
    return Measurement(
        used["seconds"],
        used["cpu_seconds"],
        int(used["peak_bytes"]),
        files,
        written_bytes,
        json.loads(said) if job.name in OURS else {},
    )


def metered(
    command: list[str], environment: Mapping[str, str], folder: Path, limit: float
) -> tuple[dict[str, float], str]:
    """Return what a command used, and its output; of a failed one also what it said of its errors."""
    report, output, errors = (folder / name for name in ("report.json", "output", "errors"))
    program = [sys.executable, "-I", "-S", str(ROOT / "bench" / "metered.py"), str(report), str(limit)]
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [*program, *command], cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=err
        )
        try:
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    said = output.read_text("utf-8")
    used: dict[str, float] = json.loads(report.read_text("utf-8")) if report.exists() else {}
    if used.get("exit_code") != 0:
        said += errors.read_text("utf-8", errors="replace")
    return used or {"exit_code": 1, "seconds": 0.0}, said


def listed(warehouse: Path) -> Listing:
    """Return all files of a warehouse; the checksum files of Hadoop's local file system are left out."""
    files = [path for path in warehouse.rglob("*") if path.is_file() and path.suffix != ".crc"]
    return {path: (state.st_size, state.st_mtime_ns) for path in files for state in [path.stat()]}


def written(before: Listing, after: Listing) -> tuple[int, int]:
    """Return the number of files that are new or changed, and their bytes."""
    new = {path: state for path, state in after.items() if before.get(path) != state}
    return len(new), sum(size for size, _ in new.values())
