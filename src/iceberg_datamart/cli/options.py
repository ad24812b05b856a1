"""Options that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from iceberg_datamart.app.settings_file import default_config_text, load_config, parse_config
from iceberg_datamart.core import engines, load_types
from iceberg_datamart.core.durations import parsed_duration
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.errors import ConfigError

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings (YAML). Default: the shipped six tables.", envvar="DATAMART_CONFIG"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
TableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="TABLE",
        help="Only this table, and the marts that it is in; may be repeated.",
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log details and stack traces.")]


class EngineName(str, Enum):
    """What works on the tables."""

    AUTO = engines.AUTO
    SPARK = engines.SPARK
    IN_PROCESS = engines.IN_PROCESS


EngineOption = Annotated[
    EngineName | None,
    typer.Option(
        "--engine",
        envvar="DATAMART_ENGINE",
        help="What works on the tables, for this run. Default: `engine` of the settings.",
    ),
]
AcceptOption = Annotated[
    bool,
    typer.Option(
        "--accept-new-source", help="Load fully from a source other than the one that the mirror recorded."
    ),
]


class LoadType(str, Enum):
    """How much a run reads."""

    FULL = load_types.FULL
    INCREMENTAL = load_types.INCREMENTAL


LoadTypeOption = Annotated[
    LoadType,
    typer.Option(
        "--load-type",
        help="incremental: what changed. full: everything; removes what the source no longer has.",
    ),
]


def loaded(path: Path | None, tables: list[str] | None = None, engine: EngineName | None = None) -> Config:
    """Return the settings, with `engine` in place of theirs.

    Raises: ConfigError, also for a `--table` that they do not name.
    """
    if path is None:
        config = parse_config(default_config_text(), os.environ, "the shipped settings")
    else:
        config = load_config(path, os.environ)
    require_enabled(tables or (), config, "--table")
    return with_engine(config, engine)


def with_engine(config: Config, engine: EngineName | None) -> Config:
    """Return the settings with `engine` in place of theirs, where one is asked for."""
    return config if engine is None else config.model_copy(update={"engine": engine.value})


def instant(text: str, option: str, others: str = "") -> datetime:
    """Return the instant that ISO text means; without a zone, in UTC. Raises: ConfigError."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        hint = f"Write it as 2026-01-31T08:15:00Z{others}."
        raise ConfigError(f"{option}: {text!r} is no ISO time", hint=hint) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def duration(text: str, option: str) -> timedelta:
    """Return the length of time that an option was given. Raises: ConfigError."""
    found = parsed_duration(text)
    if found is None:
        raise ConfigError(f"{option}: {text!r} is no length of time", hint="Write 90s, 30m, 2h or 3d.")
    return found


def require_enabled(tables: Iterable[str], config: Config, option: str) -> None:
    """Raise ConfigError for a table, named by `option`, that the settings do not have or do not enable."""
    for name in tables:
        if name not in config.tables or not config.tables[name].enabled:
            known = ", ".join(config.tables)
            raise ConfigError(f"{option}: there is no enabled table '{name}'", hint=f"Known: {known}.")


def require_known(names: Iterable[str], config: Config) -> None:
    """Raise ConfigError for a name that is neither a mirror's nor a mart's."""
    known = [*config.tables, *config.marts]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no table or mart '{name}'", hint=f"Known: {', '.join(known)}.")
