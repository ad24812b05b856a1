"""The command line: one file for each verb, reports on standard output, everything else on standard error.

A verb's file, and with it all that the verb needs, is imported when that verb is chosen.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from iceberg_datamart.errors import DatamartError
from iceberg_datamart.underway.stopping import stoppable

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each verb, which is its file and the function in it, and the first paragraph of that function's docstring.
VERBS = {
    "demo": "Show the whole job on this machine: a PostgreSQL, Iceberg tables, four runs, and the proof.",
    "plan": "Show what `run` would read and write, table by table. Changes nothing.",
    "run": "Read what changed in the sources, merge it into the mirrors, and bring the marts up to date.",
    "reconcile": "Find deletes, and updates that the cursor does not show, by comparing digests; "
    "merge what differs.",
    "backfill": "Read whole tables again and merge what differs; delete only what `soft_delete` marks.",
    "rerun": "Read a mirror again from a snapshot's state, or compute a mart's snapshot again and compare.",
    "rollback": "Set a table back to an earlier snapshot, and with it the state from which the next run "
    "reads.",
    "verify": "Compare mirrors with their sources and marts with their joins; exit code 0 only if all are "
    "equal.",
    "status": "Show the timestamp file, where each table stands and how it is, and what holds it back.",
    "runs": "List the newest runs, or show one of them, by the records that they left.",
    "history": "Show the snapshots of each table, newest first.",
    "maintain": "Compact small files and deletes, expire old snapshots, remove orphans: where it is "
    "worth it.",
    "repair": "Where a table's metadata file is gone, set the table back to the file before it.",
}
# What is said when a verb is stopped: of `run`, and of those that are not like it.
STOPPING = {
    "run": "stopping; committed tables stay, the next run goes on",
    **dict.fromkeys(("plan", "verify", "status", "history"), "stopping; nothing was changed"),
    **dict.fromkeys(("rollback", "repair"), "stopping; what was changed so far stays"),
    "demo": "stopping, and the demo's PostgreSQL with it; demo --fresh starts again",
}


class _Verbs(TyperGroup):
    """Knows of each verb what the list of verbs shows, and imports the one that is chosen."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else command_of(name), rest


def command_of(verb: str) -> Any:
    """Return a verb with its options; its file is imported now."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    with _without_collections():
        module = import_module(f"{__name__}.{verb}")
    alone.command()(getattr(module, verb))
    return typer.main.get_command(alone)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Search nothing for garbage meanwhile: what is imported stays, and searching takes a tenth of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


app = typer.Typer(
    cls=_Verbs,
    help="Merge operational tables into Apache Iceberg, incrementally and exactly, and keep marts true.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for _verb, _text in VERBS.items():
    app.command(_verb, help=_text)(lambda: None)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  (slow, and only then)

        print(f"iceberg-datamart {version('iceberg-datamart')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # its callback does it
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options of the whole command."""


def main() -> None:
    """Run the command line; a deliberate error ends it with its message, its hint and its exit code."""
    verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    with stoppable(STOPPING.get(verb, STOPPING["run"])):
        try:
            app()
        except DatamartError as error:
            from iceberg_datamart.cli.output import print_error  # noqa: PLC0415  (no verb, no output)

            print_error(error)
            sys.exit(error.exit_code)
