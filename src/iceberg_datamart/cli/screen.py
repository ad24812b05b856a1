"""What a terminal shows of a board: one line for each table in work, which goes when the table is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from iceberg_datamart.core.report.progress import Board, Work

_BAR = 20
# Narrower, the figures alone have room.
_WIDE = 110


class Screen:
    """The lines of a board as they are at each look; `text` while nothing is in work."""

    def __init__(self, board: Board, text: str) -> None:
        """Take what to show."""
        self._board, self._text, self._spinner = board, text, Spinner("dots", style="green")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a line for each table or mart; what does not fit the width ends in an ellipsis."""
        works, now = self._board.in_work(), self._board.now()
        lines = Table.grid(padding=(0, 1, 0, 0))
        lines.add_column()
        lines.add_column(no_wrap=True, overflow="ellipsis")
        if not works:
            lines.add_row(self._spinner, self._text)
        is_wide = options.max_width >= _WIDE and any(work.total for work in works)
        for _ in range(3 + is_wide):
            lines.add_column(justify="right", no_wrap=True)
        for work in works:
            figures = [work.rows_text(), work.rate_text(now), f"{now - work.since:.0f} s"]
            bar = [_bar(work)] if is_wide else []
            lines.add_row(self._spinner, work.doing, *bar, *figures)
        yield lines


def live(screen: Screen, console: Console) -> Live:
    """Return what shows the screen on a terminal, and looks at it eight times a second."""
    return Live(screen, console=console, refresh_per_second=8, transient=True)


def _bar(work: Work) -> ProgressBar | str:
    if not work.total:
        return ""
    return ProgressBar(total=work.total, completed=min(work.rows, work.total), width=_BAR)
