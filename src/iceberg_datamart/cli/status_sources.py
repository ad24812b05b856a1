"""The part of `status` that asks the sources: which open transactions hold which tables back (R7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.app.assemble import activity
from iceberg_datamart.cli.output import short
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.source.reads import Activity
from iceberg_datamart.errors import ConfigError, DatamartError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import OpenTransaction
    from iceberg_datamart.core.state.history import TableHistory

_WARNING = "yellow"


def looked_at(config: Config, name: str) -> Activity | DatamartError | None:
    """Return what a source does at the moment, None where it has no clock, or why it cannot be asked."""
    try:
        return activity(name, config)
    except (ConfigError, SourceError) as error:
        return error


def source_json(
    config: Config,
    name: str,
    found: Activity | DatamartError | None,
    mirrors: Mapping[str, TableHistory | None],
) -> dict[str, Any]:
    """Return the documented object of one source."""
    nothing: dict[str, Any] = {"now": None, "horizon": None, "open_transactions": [], "warning": None}
    if not isinstance(found, Activity):
        return {**nothing, "error": None if found is None else error_json(found)}
    return {
        "now": found.horizon.clock.isoformat(),
        "horizon": found.horizon.instant.isoformat(),
        "open_transactions": [
            _transaction(each, _behind(config, name, mirrors, each.holds_from))
            for each in found.open_transactions
        ],
        "warning": None if found.inexact is None else f"source '{name}' {found.inexact}",
        "error": None,
    }


def lines(name: str, said: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield what people must know of a source, each with its style; nothing where nothing holds it back."""
    if said["warning"] is not None:
        yield f"warning: {said['warning']}", _WARNING
    for each in said["open_transactions"]:
        behind = ", ".join(each["behind"]) or "no table yet"
        since = f"since {short(each['since'])} holds back: {behind}"
        if each["is_own"]:
            run = f"a run of this program, session {each['pid']} '{each['application_name']}',"
            yield f"source '{name}': {run} reads {since}", None
            continue
        if each["gid"] is not None:
            who = f"prepared transaction '{each['gid']}' of {each['user']}"
        else:
            program = f" '{each['application_name']}'" if each["application_name"] else ""
            who = f"session {each['pid']}{program} of {each['user']}, {each['state']},"
        yield f"source '{name}': {who} {since}", _WARNING


def _behind(
    config: Config, name: str, mirrors: Mapping[str, TableHistory | None], holds_from: datetime
) -> list[str]:
    """Return the source's tables that hold rows which every run must read again because of it."""
    found = []
    for table, mirror in mirrors.items():
        state, settings = None if mirror is None else mirror.mirror_state, config.tables[table]
        if settings.source == name and state is not None:
            found += [table] if state.is_held_back(holds_from, settings.cursor_timezone) else []
    return found


def _transaction(found: OpenTransaction, behind: list[str]) -> dict[str, Any]:
    return {
        "pid": found.pid,
        "application_name": found.application_name,
        "user": found.user,
        "state": found.state,
        "since": found.since.isoformat(),
        "gid": found.gid,
        "is_own": found.is_own,
        "behind": behind,
    }
