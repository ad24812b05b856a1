"""One workspace and two plans for all tests of infra/; where Terraform is missing, that is said aloud."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.servers import aws_server
from support.worlds.terraform import (
    NO_BUCKET_POLICY,
    UNTESTED,
    NoTerraformError,
    Plan,
    Running,
    Workspace,
    made_network,
    open_workspace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Every part that a setting can add.
EVERYTHING = {
    "glue_version": "5.1",
    "vpc_endpoints": True,
    "network": {
        "vpc_id": "vpc-1",
        "subnet_id": "subnet-1",
        "availability_zone": "eu-central-1a",
        "database_security_group_id": "sg-1",
        "route_table_ids": ["rtb-1"],
    },
    "secret_kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/of-the-secret",
    "source_folders": ["s3://landing/orders/"],
    "maintenance_script": "../jobs/datamart_job.py",
    "lake_formation": True,
    "reader_arns": ["arn:aws:iam::123456789012:role/analyst"],
}


@dataclass(frozen=True)
class Applying:
    """A workspace of which everything is made, or being made; `words` name its settings."""

    workspace: Workspace
    words: list[str]
    running: Running


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """Yield an AWS without anything in it: moto remembers what other tests of the process have made."""
    with aws_server.running() as server:
        yield server.endpoint


@pytest.fixture(scope="session")
def applying(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applying]:
    """Yield what goes on while other tests run: for most of a minute Terraform's provider only waits."""
    made = opened(tmp_path_factory.mktemp("applied"), aws_endpoint, NO_BUCKET_POLICY)
    words = made.settings(**{**EVERYTHING, "network": made_network(aws_endpoint)})
    with made.running("apply", "-input=false", "-auto-approve", *words) as running:
        yield Applying(made, words, running)


@pytest.fixture(scope="session")
def workspace(
    request: pytest.FixtureRequest, aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    if any(applying.__name__ in item.fixturenames for item in request.session.items):  # type: ignore[attr-defined]
        request.getfixturevalue(applying.__name__)
    return opened(tmp_path_factory.mktemp("terraform"), aws_endpoint)


def opened(folder: Path, endpoint: str, override: str = "") -> Workspace:
    """Return a workspace that is ready, or leave the test."""
    try:
        return open_workspace(folder, endpoint, override=override)
    except NoTerraformError as missing:
        # Where nobody reads what was left out, nothing may be.
        leave = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave(f"{UNTESTED}: {missing}")


@pytest.fixture(scope="session")
def default_plan(workspace: Workspace) -> Plan:
    """Return the plan of example.tfvars: Glue 4.0 and nothing beside what is always there."""
    return workspace.plan()


@pytest.fixture(scope="session")
def whole_plan(workspace: Workspace) -> Plan:
    """Return the plan with every part, on Glue 5.1."""
    return workspace.plan(**EVERYTHING)


@pytest.fixture(params=["default_plan", "whole_plan"])
def plan(request: pytest.FixtureRequest, default_plan: Plan, whole_plan: Plan) -> Plan:
    """Return either plan; both are named, for tests/support/groups.py sees none that is asked for by text."""
    return {"default_plan": default_plan, "whole_plan": whole_plan}[request.param]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of the run what was left out, in red."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    reasons = sorted({text[text.index(UNTESTED) :].rstrip("'\")") for text in skipped if UNTESTED in text})
    for reason in reasons:
        terminalreporter.write_sep("!", reason, red=True, bold=True)
