"""One workspace and two plans for all tests of infra/; where Terraform is missing, that is said aloud."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.servers import aws_server
from support.worlds.terraform import UNTESTED, NoTerraformError, Plan, Workspace, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    with aws_server.running() as server:
        yield server.endpoint


@pytest.fixture(scope="session")
def workspace(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    try:
        return open_workspace(tmp_path_factory.mktemp("terraform"), aws_endpoint)
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
def plan(request: pytest.FixtureRequest) -> Plan:
    return request.getfixturevalue(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of the run what was left out, in red."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    reasons = sorted({text[text.index(UNTESTED) :].rstrip("'\")") for text in skipped if UNTESTED in text})
    for reason in reasons:
        terminalreporter.write_sep("!", reason, red=True, bold=True)
