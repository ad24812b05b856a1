"""The Terraform code is well-formed, refuses wrong settings, and installs what Glue can run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.worlds.terraform import CODE, ROOT

if TYPE_CHECKING:
    from support.worlds.terraform import Plan, Workspace

MOST_LINES = 250
# The C library of each runtime; a wheel for a newer one does not load.
GLIBC = {"4.0": (2, 26), "5.1": (2, 34)}
PYTHON = {"4.0": "cp310", "5.1": "cp311"}


def test_the_code_has_terraforms_own_format(workspace: Workspace) -> None:
    done = workspace.run("fmt", "-check", "-recursive", "-diff", may_fail=True)
    assert done.returncode == 0, done.stdout


def test_the_code_is_valid(workspace: Workspace) -> None:
    workspace.run("validate")


def test_settings_are_refused_or_arrive(workspace: Workspace) -> None:
    told = workspace.run("test").stdout
    assert re.search(r"Success! 6 passed, 0 failed", told), told


@pytest.mark.parametrize("path", sorted(CODE.glob("*.tf")), ids=lambda path: path.name)
def test_no_file_is_long(path: object) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES  # type: ignore[attr-defined]


def test_every_setting_is_described() -> None:
    text = "".join(path.read_text("utf-8") for path in CODE.glob("*variables.tf"))
    blocks = re.findall(r'^variable "(\w+)" \{(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    assert blocks
    assert [name for name, body in blocks if "description" not in body or "type " not in body] == []


def test_every_setting_of_the_example_is_one(default_plan: Plan) -> None:
    """Terraform warns of unknown names in such a file, and goes on."""
    assert "Terraform will perform" in default_plan.told
    assert "undeclared variable" not in default_plan.told


@pytest.mark.parametrize("version", ["4.0", "5.1"])
def test_the_locked_requirements_are_those_of_the_package(version: str) -> None:
    lock = (CODE / "requirements" / f"glue-{version}.txt").read_text("utf-8")
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = re.findall(r'^    "([\w-]+)', project.split("dependencies = [")[1].split("]\n")[0], re.MULTILINE)
    left_out = re.findall(
        r"^([\w.-]+); ", (CODE / "requirements" / "glue.in").read_text("utf-8"), re.MULTILINE
    )
    assert wanted
    assert [name for name in wanted if name.lower() not in locked] == left_out


@pytest.mark.parametrize("version", ["4.0", "5.1"])
def test_the_wheels_are_for_the_runtimes_python_and_c_library(version: str) -> None:
    script = ["infra/wheels.sh", version]
    subprocess.run(script, cwd=ROOT, check=True, env={**os.environ, "PYTHON": sys.executable})
    names = [path.name for path in (ROOT / "dist" / f"glue-{version}").glob("*.whl")]
    assert len([name for name in names if name.startswith("iceberg_datamart-")]) == 1
    for name in names:
        _, _, python, _, platform = name.removesuffix(".whl").rsplit("-", 4)
        libraries = re.findall(r"manylinux_(\d+)_(\d+)_x86_64", platform)
        assert platform == "any" or min((int(a), int(b)) for a, b in libraries) <= GLIBC[version], name
        assert "py3" in python or python == PYTHON[version], name
