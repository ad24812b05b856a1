"""The two jobs that are timed: each is a process of its own with a catalog and a warehouse of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.demo.settings import config_text, write_config
from iceberg_datamart.lake.catalog import LakeCatalog

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import Config

ROOT = Path(__file__).parents[1]
DATAMART, HANDWRITTEN = "datamart", "handwritten"


@dataclass(frozen=True)
class Contestant:
    """A job and the folder that it fills."""

    name: str
    config_file: Path

    @property
    def config(self) -> Config:
        """Return the settings that it runs with."""
        return load_config(self.config_file, os.environ)

    @property
    def command(self) -> list[str]:
        """Return the command line of one run."""
        if self.name == HANDWRITTEN:
            return [sys.executable, "-m", "bench.handwritten", str(self.config_file)]
        datamart = Path(sys.executable).with_name("iceberg-datamart")
        return [str(datamart), "run", "--json", "--config", str(self.config_file)]


@dataclass(frozen=True)
class Timing:
    """The seconds from the start of a process to its end, and its report where it prints one."""

    seconds: float
    report: dict[str, Any]


def contestant(name: str, directory: Path, url: str) -> Contestant:
    """Return a job with an empty catalog in `directory`."""
    directory.mkdir(parents=True)
    config_file = directory / "datamart.yaml"
    write_config(config_file, config_text(directory, url))
    found = Contestant(name, config_file)
    # Makes the catalog's own tables, which Spark is told not to do.
    LakeCatalog(found.config.catalog, found.config.database)
    return found


def timed(job: Contestant) -> Timing:
    """Return the timing of one run. Raises: RuntimeError with what it said where it failed."""
    environment = {**os.environ, "TZ": "UTC"}
    started = time.perf_counter()
    result = subprocess.run(
        job.command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if result.returncode != 0:
        message = f"{job.name} failed with exit code {result.returncode}:\n{result.stdout}{result.stderr}"
        raise RuntimeError(message)
    return Timing(seconds, json.loads(result.stdout) if job.name == DATAMART else {})
