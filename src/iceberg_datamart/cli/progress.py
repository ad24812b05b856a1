"""Standard error while a run lasts: log lines, and what is in work, as a terminal or a log shows it best."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from iceberg_datamart.core.report.progress import still_text
from iceberg_datamart.underway.stopping import hide_at_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.report.progress import Board

log = logging.getLogger(__name__)
# Seconds between two lines of a log that say what is in work.
TOLD_EVERY = 30.0


@contextmanager
def progress_on_stderr(
    run_id: str, board: Board, *, debug: bool = False, brief: str | None = None
) -> Iterator[None]:
    """Show log records and the board meanwhile.

    On a terminal, records are lines above one for each table in work; with `brief`, which stands where none
    is, only warnings are. Elsewhere records have the run id, and now and then one says what is in work.
    """
    least = logging.DEBUG if debug else logging.INFO
    console = Console(stderr=True, highlight=False)
    shown = _on_terminal(console, board, brief or "running") if console.is_terminal else _in_log(board)
    handler = (
        _TerminalHandler(console, logging.WARNING if brief else least)
        if console.is_terminal
        else _line_handler(run_id)
    )
    logger = logging.getLogger("iceberg_datamart")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(least)
    try:
        with shown:
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _on_terminal(console: Console, board: Board, text: str) -> Iterator[None]:
    from iceberg_datamart.cli.screen import Screen, live  # noqa: PLC0415  (only a terminal needs it)

    with live(Screen(board, text), console) as display:
        shown_again = hide_at_stop(display.stop)
        try:
            yield
        finally:
            shown_again()


@contextmanager
def _in_log(board: Board) -> Iterator[None]:
    over = Event()
    teller = Thread(target=_tell_until, args=(over, board), daemon=True, name="progress")
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell_until(over: Event, board: Board) -> None:
    while not over.wait(TOLD_EVERY):
        works = board.in_work()
        if works:
            log.info(still_text(works, board.now()))


def _line_handler(run_id: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(f"%(asctime)s %(levelname)s run={run_id} %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler


class _TerminalHandler(logging.Handler):
    """Prints a record as one line, coloured by its level."""

    _STYLES = {logging.WARNING: "yellow", logging.ERROR: "red"}  # noqa: RUF012  (read only)

    def __init__(self, console: Console, least: int) -> None:
        super().__init__(least)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        self._console.print(Text(text, self._STYLES.get(record.levelno, "")))
        if record.exc_info:
            self._console.print(logging.Formatter().formatException(record.exc_info), markup=False)
