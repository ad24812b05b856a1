"""The part of `status` that asks the sources: which open transactions hold which tables back (R7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.app.assemble import activity
from iceberg_datamart.cli.output import short
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import OpenTransaction
    from iceberg_datamart.core.state.history import TableHistory


def source(config: Config, name: str, mirrors: Mapping[str, TableHistory | None]) -> dict[str, Any]:
    """Return the documented object of one source; that it cannot be reached is told, not raised."""
    nothing: dict[str, Any] = {"horizon": None, "open_transactions": [], "warning": None, "error": None}
    try:
        found = activity(name, config)
    except (ConfigError, SourceError) as error:
        return {**nothing, "error": error_json(error)}
    if found is None:
        return nothing
    return {
        "horizon": found.horizon.instant.isoformat(),
        "open_transactions": [
            _transaction(each, _behind(config, name, mirrors, each.holds_from))
            for each in found.open_transactions
        ],
        "warning": None if found.inexact is None else f"source '{name}' {found.inexact}",
        "error": None,
    }


def lines(name: str, said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what people must know of a source; nothing where nothing holds it back."""
    if said["error"] is not None:
        yield f"warning: {said['error']['message']}"
    if said["warning"] is not None:
        yield f"warning: {said['warning']}"
    for each in said["open_transactions"]:
        if each["gid"] is not None:
            who = f"prepared transaction '{each['gid']}' of {each['user']}"
        else:
            program = f" '{each['application_name']}'" if each["application_name"] else ""
            who = f"session {each['pid']}{program} of {each['user']}, {each['state']},"
        behind = ", ".join(each["behind"]) or "no table yet"
        yield f"source '{name}': {who} since {short(each['since'])} holds back: {behind}"


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
        "behind": behind,
    }
