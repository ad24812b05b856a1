"""The record of a run, written as the run ends; no run fails for it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.report.record import RunRecord, file_name
from iceberg_datamart.core.report.run import RunReport
from iceberg_datamart.run.gathering import deliberate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from iceberg_datamart.core.plan.facts import RunRequest
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.ports import Clock

log = logging.getLogger(__name__)


@dataclass
class Recording:
    """What is known of a run so far. `plan` and `report` are set by whoever carries it out."""

    config: Config
    request: RunRequest
    run_id: str
    clock: Clock
    plan: Mapping[str, Any] | None = None
    report: RunReport | None = None

    def planned(self, shown: Callable[[], Mapping[str, Any]]) -> None:
        """Take the plan, as far as it can be shown."""
        try:
            self.plan = shown()
        except Exception as error:  # noqa: BLE001  (the run goes on)
            log.debug("the plan is not recorded: %s", error)

    def ended(self, started: datetime, versions: Mapping[str, str], error: Exception | None) -> RunRecord:
        """Return the record. `error` is what ended the run before there was a report, or after."""
        report = self.report or RunReport(self.run_id, {}, {})
        if error is not None:
            report = replace(report, error=deliberate(self.run_id, error))
        return RunRecord(
            run_id=self.run_id,
            started=started,
            ended=self.clock.now(),
            timestamp_file=file_name(self.config.state.timestamp_file),
            request={**asdict(self.request), "tables": list(self.request.tables)},
            versions=versions,
            plan=self.plan,
            report=report.as_json(),
            exit_code=report.exit_code,
        )


@contextmanager
def recorded(
    recording: Recording,
    keepers: Mapping[str, Callable[[RunRecord], None]],
    versions: Callable[[], Mapping[str, str]],
) -> Iterator[None]:
    """Keep the record of what is done meanwhile in each of the places, also where that raises an Exception.

    Of a run that is interrupted or killed nothing is kept. Where the record cannot be, there is a warning.
    """
    started, raised = recording.clock.now(), None
    try:
        yield
    except Exception as error:
        raised = error
        raise
    finally:
        if recording.report is not None or raised is not None:
            record = recording.ended(started, versions(), raised)
            for place, keep in keepers.items():
                _kept(record, place, keep)


def _kept(record: RunRecord, place: str, keep: Callable[[RunRecord], None]) -> None:
    try:
        keep(record)
    except Exception as error:  # noqa: BLE001  (no run fails for its record)
        log.warning("this run is not recorded in %s: %s", place, error)
