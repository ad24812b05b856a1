"""The records of runs, where the settings have them; neither sources nor catalog are opened, nor imported."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING

from iceberg_datamart.core.report.record import file_name
from iceberg_datamart.stores.run_records import FOLDER, LocalFolder, StoredRunRecords
from iceberg_datamart.stores.timestamp_file import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.report.record import RunRecord
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.ports import RunRecords

_S3 = "s3://"
# Whose version a record says, if it was of use in the run; by the name of its module.
_PACKAGES = ("pyiceberg", "duckdb", "pyspark")


def run_records(config: Config) -> RunRecords:
    """Return the records beside the timestamp file. Raises: ConfigError, StateRefusedError."""
    location, most = config.state.timestamp_file, config.state.run_records
    name = file_name(location)
    if location.startswith(_S3):
        from iceberg_datamart.stores.s3_folder import S3Folder  # noqa: PLC0415  (boto3 is slow to import)

        beside = location.removesuffix(name)
        return StoredRunRecords(S3Folder(f"{beside}{FOLDER}/", config.catalog.properties), name, most)
    return StoredRunRecords(LocalFolder(local_path(location).parent / FOLDER), name, most)


def newest_records(config: Config, limit: int) -> Iterator[RunRecord]:
    """Yield the records of the newest runs, newest first: one listing, then one read as each is asked for.

    Raises: ConfigError, StateRefusedError, StateUnreachableError.
    """
    return islice(run_records(config).newest(), limit)


def loaded_versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of the packages that this process has imported."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _PACKAGES}
    own = {"iceberg-datamart": version("iceberg-datamart"), "python": platform.python_version()}
    return {**own, **{name: str(said) for name, said in found.items() if said is not None}}
