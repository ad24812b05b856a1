"""What a terminal shows of a board: one line for each table in work, which goes when the table is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from iceberg_datamart.core.report.progress import Board, Work

_BAR = 20
# Narrower, the figures alone have room.
_WIDE = 110
# Figures stand below each other behind names up to here; a longer one goes on to where its own begin.
_USUAL = 50
_SPINNER = 2


class Screen:
    """The lines of a board as they are at each look; `text` while nothing is in work."""

    def __init__(self, board: Board, text: str) -> None:
        """Take what to show."""
        self._board, self._text, self._spinner = board, text, Spinner("dots", style="green")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a line for each table or mart."""
        works, now = self._board.in_work(), self._board.now()
        usual = max((len(work.doing) for work in works if len(work.doing) <= _USUAL), default=0)
        lines = Table.grid(padding=(0, 1, 0, 0))
        for work in works:
            lines.add_row(self._spinner, line_of(work, now, usual, options.max_width - _SPINNER))
        if not works:
            lines.add_row(self._spinner, self._text)
        yield lines


def live(screen: Screen, console: Console) -> Live:
    """Return what shows the screen on a terminal, and looks at it eight times a second."""
    return Live(screen, console=console, refresh_per_second=8, transient=True)


def line_of(work: Work, now: float, usual: int, width: int) -> Text:
    """Return a line of at most `width`: the phase, behind it from `usual` on a bar if there is room, figures.

    What does not fit of the phase ends in an ellipsis.
    """
    rate, seconds = work.rate_text(now), f"{now - work.since:.0f} s"
    figures = _bar(work) if width >= _WIDE else Text()
    figures.append("  ".join(filter(None, (work.rows_text(), rate, seconds))))
    doing = Text(work.doing.ljust(usual))
    doing.truncate(max(1, width - 2 - len(figures)), overflow="ellipsis")
    return Text("  ", no_wrap=True).join([doing, figures])


def _bar(work: Work) -> Text:
    """Return how much of a phase is done, with room behind it; nothing where that is not known."""
    if not work.total:
        return Text()
    done = min(_BAR, _BAR * work.rows // work.total)
    return Text.assemble(("━" * done, "green"), ("━" * (_BAR - done), "bright_black"), "  ")
