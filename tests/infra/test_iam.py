"""Least privilege: every right is named, bound to a resource, and explained in docs/iam.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from support.worlds.terraform import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.worlds.terraform import Plan

PAGE = ROOT / "docs" / "iam.md"
# The documents of roles and users; the others are a key's, a topic's, a bucket's and a role's trust.
IDENTITY = ("job_storage", "job_catalog", "job_runtime", "reader")
# Actions for which AWS knows no resource:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
WITHOUT_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
}
# In a key's own policy * is that key.
OF_ONE_KEY = "key"
# What each IAM policy may say after the last / or :, and nothing before it.
ROWS = re.compile(
    r"^\| `(?P<sid>\w+)` \| (?P<actions>[^|]+) \| (?P<places>[^|]+) \| (?P<why>[^|]+) \|$", re.MULTILINE
)


def statements(plan: Plan) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in plan.policies.items():
        for statement in found:
            yield name, statement


def allowed(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    return [(name, each) for name, each in statements(plan) if each["effect"] != "Deny"]


def test_all_documents_are_seen(plan: Plan) -> None:
    assert set(plan.policies) == {*IDENTITY, "job", "glue_assumes", "bucket", "key", "notices"}
    assert len(list(statements(plan))) > 25


def test_no_action_is_a_wildcard(plan: Plan) -> None:
    actions = [action for _, each in allowed(plan) for action in each["actions"]]
    assert actions
    assert [action for action in actions if "*" in action] == []


def test_nothing_is_allowed_by_exclusion(plan: Plan) -> None:
    assert [
        each["sid"] for _, each in statements(plan) if each.get("not_actions") or each.get("not_resources")
    ] == []


def test_every_statement_has_a_name_of_its_own(plan: Plan) -> None:
    names = [(document, each["sid"]) for document, each in statements(plan)]
    assert all(sid for _, sid in names)
    assert len(names) == len(set(names))


def test_every_statement_names_its_resources_where_aws_knows_any(plan: Plan) -> None:
    for document, each in allowed(plan):
        if document in {OF_ONE_KEY, "glue_assumes"} or "*" not in (each["resources"] or []):
            continue
        assert set(each["actions"]) <= WITHOUT_RESOURCE, each["sid"]


def test_a_wildcard_in_a_resource_stands_at_its_end(plan: Plan) -> None:
    for document, each in allowed(plan):
        if document in IDENTITY:
            named = [place for place in each["resources"] if place not in {None, "*"}]
            assert [place for place in named if "*" in place[:-1]] == [], each["sid"]
            assert [place for place in named if re.search(r":\*$", place)] == [], each["sid"]


def test_metrics_go_to_one_namespace(plan: Plan) -> None:
    (each,) = [each for _, each in statements(plan) if "cloudwatch:PutMetricData" in each["actions"]]
    condition = {"test": "StringEquals", "values": ["IcebergDatamart"], "variable": "cloudwatch:namespace"}
    assert each["condition"] == [condition]


def test_no_managed_policy_is_attached(plan: Plan) -> None:
    assert plan.of_type("aws_iam_role_policy_attachment") == []
    assert [
        role["managed_policy_arns"]
        for role in plan.of_type("aws_iam_role")
        if role.get("managed_policy_arns")
    ] == []


def test_files_elsewhere_are_read_only_where_their_folders_are_named(
    default_plan: Plan, whole_plan: Plan
) -> None:
    assert "landing" not in str(default_plan.policies)
    assert "glue:GetPartitions" not in str(default_plan.policies)
    named = [each for each in whole_plan.policies["job_catalog"] if "landing" in str(each["resources"])]
    assert {action for each in named for action in each["actions"]} == {"s3:GetObject", "s3:ListBucket"}


def test_readers_change_no_table(plan: Plan) -> None:
    writing = [
        each for each in plan.policies["reader"] if {"s3:PutObject", "s3:DeleteObject"} & set(each["actions"])
    ]
    assert [each["resources"] for each in writing] == [
        ["arn:aws:s3:::iceberg-logics-sandeep/athena-results/*"]
    ]
    actions = {action for each in plan.policies["reader"] for action in each["actions"]}
    assert [action for action in actions if re.match(r"glue:(Create|Update|Delete)", action)] == []


def test_the_page_names_every_right_and_no_other(whole_plan: Plan) -> None:
    rights = {
        (each["sid"], action)
        for name in IDENTITY
        for each in whole_plan.policies[name]
        for action in each["actions"]
    }
    assert page_rights() == rights


def test_the_page_names_every_resource_and_no_other(whole_plan: Plan) -> None:
    page = {row["sid"]: places(row["places"]) for row in ROWS.finditer(PAGE.read_text("utf-8"))}
    for name in IDENTITY:
        for each in whole_plan.policies[name]:
            planned = [place for place in each["resources"] if place is not None]
            assert {short(place) for place in planned} <= page[each["sid"]], each["sid"]
            assert len(each["resources"]) == len(page[each["sid"]]), each["sid"]


@pytest.mark.parametrize("row", list(ROWS.finditer(PAGE.read_text("utf-8"))), ids=lambda row: row["sid"])
def test_the_page_says_why(row: re.Match[str]) -> None:
    assert len(row["why"]) > 20


def page_rights() -> set[tuple[str, str]]:
    rows = ROWS.finditer(PAGE.read_text("utf-8"))
    return {(row["sid"], action) for row in rows for action in re.findall(r"`([\w:]+)`", row["actions"])}


def places(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def short(arn: str) -> str:
    """Return a resource as the page writes it: without account and region, names as capitals."""
    own = {
        "iceberg-logics-sandeep": "BUCKET",
        "account_metadata_datamart": "DATABASE",
        "iceberg-datamart-source": "NAME-source",
        "workgroup/iceberg-datamart": "workgroup/NAME",
        "secret:iceberg-datamart/reader-AbCdEf": "secret:NAME",
        "key/of-the-secret": "key/OF-THE-SECRET",
        "landing/orders": "SOURCE-FOLDER",
        "landing": "SOURCE-BUCKET",
        "subnet/subnet-1": "subnet/ID",
    }
    found = arn if arn == "*" else arn.split(":", 5)[5]
    for name, placeholder in own.items():
        found = found.replace(name, placeholder)
    return found
