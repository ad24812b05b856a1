"""The jobs that are measured: each is a process of its own with a catalog and a warehouse of its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.demo.proof import prove
from iceberg_datamart.demo.rows import TABLES
from iceberg_datamart.demo.settings import config_text, write_config
from iceberg_datamart.lake.catalog import LakeCatalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.demo.proof import Proof

ROOT = Path(__file__).parents[1]
OURS_IN_PROCESS, OURS_ON_SPARK = "ours-in-process", "ours-spark"
BY_HAND, BY_HAND_ON_SPARK, DLT = "by-hand", "by-hand-spark", "dlt"
# The program that is ours.
DATAMART = Path(sys.executable).with_name("iceberg-datamart")
# By the name that `iceberg-datamart run --engine` has for it.
OURS = {OURS_IN_PROCESS: "in_process", OURS_ON_SPARK: "spark"}
CONTESTANTS = (OURS_IN_PROCESS, OURS_ON_SPARK, BY_HAND, BY_HAND_ON_SPARK, DLT)
_MODULES = {BY_HAND: "bench.by_hand", BY_HAND_ON_SPARK: "bench.by_hand_spark", DLT: "bench.dlt_job"}


@dataclass(frozen=True)
class Contestant:
    """A job, the folder that it fills, and the source."""

    name: str
    folder: Path
    url: str
    datamart: Path = DATAMART

    @property
    def config_file(self) -> Path:
        """Return where the settings are; jobs written by hand take only places from them, if anything."""
        return self.folder / "datamart.yaml"

    @property
    def warehouse(self) -> Path:
        """Return where the tables' files lie."""
        return self.folder / "warehouse"

    @property
    def config(self) -> Config:
        """Return the settings."""
        return load_config(self.config_file, os.environ)

    @property
    def command(self) -> list[str]:
        """Return the command line of one run."""
        if self.name in OURS:
            engine = ["--engine", OURS[self.name]]
            return [str(self.datamart), "run", *engine, "--json", "--config", str(self.config_file)]
        return [sys.executable, "-m", _MODULES[self.name], str(self.config_file)]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of one run, without those that it shares with the benchmark."""
        return {
            "TZ": "UTC",
            # Without bytecode on disk a small run mostly compiles: 2,000 modules, 4 seconds.
            "PYTHONDONTWRITEBYTECODE": "",
            "BENCH_CATALOG": f"sqlite:///{self.folder}/catalog.db",
            "BENCH_WAREHOUSE": str(self.warehouse),
            "BENCH_SOURCE": self.url,
        }

    def proofs(self) -> Iterator[Proof]:
        """Yield a proof for each of its tables, all read at one point of the source; dlt has no mart."""
        return islice(prove(self.config, self.url), len(TABLES) if self.name == DLT else None)


def contestant(name: str, folder: Path, url: str) -> Contestant:
    """Return a job with an empty catalog in `folder`, which is made."""
    folder.mkdir(parents=True)
    found = Contestant(name, folder, url)
    write_config(found.config_file, config_text(folder, url))
    # Makes the catalog's own tables, which Spark is told not to do.
    LakeCatalog(found.config.catalog, found.config.database)
    return found
