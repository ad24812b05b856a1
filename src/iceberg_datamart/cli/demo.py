"""`demo`: a PostgreSQL with six tables, four runs over it, and the proof, all in one folder."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from iceberg_datamart.app.assemble import new_run, tables_of
from iceberg_datamart.cli.demo_screens import changes_text, commands, history_table, proof_table
from iceberg_datamart.cli.options import EngineName, EngineOption, JsonOption, with_engine
from iceberg_datamart.cli.output import console, outcomes_table, print_json
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.core.load_types import FULL, INCREMENTAL
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.demo.changes import change as change_source
from iceberg_datamart.demo.changes import late_commit
from iceberg_datamart.demo.folder import DemoFolder
from iceberg_datamart.demo.proof import MART, Proof, prove
from iceberg_datamart.errors import ConfigError, DatamartError
from iceberg_datamart.underway.stopping import remove_at_stop

if TYPE_CHECKING:
    from rich.console import RenderableType

    from iceberg_datamart.core.report.run import RunReport

_INDENT = 3
_WIDEST = 100


def demo(
    rows: Annotated[int, typer.Option(min=100, help="Settlement transactions in the source.")] = 50_000,
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Folder of the demo.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed gives other rows.")] = 7,
    fresh: Annotated[bool, typer.Option("--fresh", help="First remove the demo in the folder.")] = False,
    change: Annotated[bool, typer.Option("--change", help="Only change the demo's source again.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop the demo's PostgreSQL.")] = False,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Show the whole job on this machine: a PostgreSQL, Iceberg tables, four runs, and the proof."""
    if sum((fresh, change, stop)) > 1:
        raise ConfigError("--fresh, --change and --stop exclude each other", hint="Choose one of them.")
    folder = DemoFolder(directory.resolve())
    out = Console(quiet=True) if json else console()
    if stop:
        folder.stop()
        told: dict[str, Any] = {"directory": str(folder.directory), "stopped": True}
        out.print(f"The PostgreSQL of {folder.directory} is stopped; its data stay.", soft_wrap=True)
    elif change:
        made = folder.change(max(100, rows // 500))
        told = {"directory": str(folder.directory), "changes": vars(made)}
        out.print(changes_text(made))
    else:
        told = _told(_Story(folder, out, fresh, engine), rows, seed)
    if json:
        print_json(told)
    raise typer.Exit(0 if told.get("status", "succeeded") == "succeeded" else 1)


def _told(story: _Story, rows: int, seed: int) -> dict[str, Any]:
    """Return what happened; the server goes on only after a story that came to its end."""
    left_running = remove_at_stop(story.stop)
    try:
        return story.tell(rows, seed)
    except BaseException:
        story.stop()
        raise
    finally:
        left_running()


@dataclass
class _Story:
    """Tells the demo step by step: a line that says what happens, then what happened."""

    folder: DemoFolder
    out: Console
    fresh: bool = False
    engine: EngineName | None = None
    claimed: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)

    def stop(self) -> None:
        """Stop the server, if this demo started it."""
        if self.claimed:
            self.folder.stop()

    def tell(self, rows: int, seed: int) -> dict[str, Any]:
        """Return the demo as the documented object."""
        url = self._make_source(rows, seed)
        self._run("Full load", FULL, "Every row goes into the mirrors; the mart joins five of them.")
        with psycopg.connect(url, autocommit=True) as late:
            with late_commit(late, seed):
                self._change(url, rows, seed)
                self._run("Incremental load", INCREMENTAL, "Only what changed is read and merged.")
            self._say(
                "A late commit",
                "The open transaction commits now. Its rows are older than rows that were read already: "
                "2 settlement transactions and 1 adjustment are new, 3 risks changed.",
            )
        self._run("Incremental load", INCREMENTAL, "The watermark waited below them: they are read.")
        self._run(
            "Full load", FULL, "Deleted rows leave no trace in a cursor column; a full load removes them."
        )
        timestamp = self._timestamp_and_history()
        proofs = self._prove(url)
        self._go_on()
        equal = all(proof.comparison.equal for proof in proofs)
        return {
            "directory": str(self.folder.directory),
            "config": str(self.folder.config_file),
            "status": "succeeded" if equal else "failed",
            "steps": self.steps,
            "timestamp": timestamp,
            "proof": {proof.table: _proof_json(proof) for proof in proofs},
        }

    def _make_source(self, rows: int, seed: int) -> str:
        with progress_on_stderr("demo", Board(), brief="starting PostgreSQL and loading its tables"):
            if self.fresh and self.folder.is_made:
                self.folder.empty()
            else:
                self.folder.claim()
            self.claimed = True
            url = self.folder.make(rows, seed)
        place = url.rpartition("@")[2].rpartition("/")[0]
        self._say("The source", f"PostgreSQL on {place}: six tables, {rows:,} settlement transactions.")
        return url

    def _change(self, url: str, rows: int, seed: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            made = change_source(connection, seed, max(100, rows // 500))
        self._say("A busy hour", changes_text(made) + " One more transaction has written and is still open.")

    def _run(self, title: str, load_type: str, text: str) -> None:
        self._say(title, text)
        run = new_run(with_engine(self.folder.config(), self.engine), RunRequest(load_type))
        with progress_on_stderr(run.run_id, run.adapters.board, brief=title.lower()), run:
            report = run.execute(run.prepare())
        self.steps.append({"step": title.lower(), "load_type": load_type, "report": report.as_json()})
        self._show(outcomes_table(report))
        _end_if_failed(report)

    def _timestamp_and_history(self) -> str:
        text = self.folder.timestamp_file.read_text("utf-8")
        self._say("The timestamp file", "Every table is complete up to here (UTC):")
        self._show(Text(text.rstrip()))
        config = self.folder.config()
        history = tables_of(config).history(MART)
        self._say("The history of the mart", f"The snapshots of {MART}, which can all still be read:")
        if history is not None:
            self._show(history_table(history))
        return text.splitlines()[-1]

    def _prove(self, url: str) -> list[Proof]:
        self._say(
            "The proof",
            "Each mirror against its source, the mart against PostgreSQL's own join:",
        )
        with progress_on_stderr("demo", Board(), brief="comparing row by row"):
            proofs = list(prove(self.folder.config(), url))
        self._show(proof_table(proofs))
        return proofs

    def _go_on(self) -> None:
        self._say("Go on", "PostgreSQL keeps running; everything lies in " + str(self.folder.directory))
        for command, what in commands(self.folder):
            self.out.print(Text(f"   # {what}", "dim"))
            self.out.print(Text(f"   {command}"), soft_wrap=True)

    def _say(self, title: str, text: str) -> None:
        self.out.print(Text(f"\n{title}", "bold"))
        width = min(self.out.width, _WIDEST) - _INDENT
        for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
            self.out.print(Text(" " * _INDENT + line), soft_wrap=True)

    def _show(self, what: RenderableType) -> None:
        self.out.print()
        self.out.print(Padding(what, (0, 0, 0, _INDENT), expand=False))


def _end_if_failed(report: RunReport) -> None:
    if report.exit_code != 0:
        raise DatamartError("the run failed, and so the demo ends here", hint="Its log above says why.")


def _proof_json(proof: Proof) -> dict[str, Any]:
    first = [
        {"kind": difference.kind, "key": dict(zip(proof.key, difference.key, strict=True))}
        for difference in proof.comparison.first
    ]
    comparison = proof.comparison
    return {
        "equal": comparison.equal,
        "rows": comparison.rows,
        "differences": comparison.differences,
        "first": first,
    }
