"""The code is applied to moto's AWS, looked at through AWS's own interfaces, and destroyed again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.conftest import Applying
    from support.worlds.terraform import Workspace

REGION = "eu-central-1"
# moto 5.2 cannot delete the first two, and answers the revoking of grants as Terraform does not expect.
GRANTS = ("job_location", "job_database", "job_tables", "job_source", "reader_database", "reader_tables")
UNDELETABLE = (
    "aws_athena_named_query.queries",
    "aws_glue_connection.source",
    *(f"aws_lakeformation_permissions.{name}" for name in GRANTS),
)
# What moto 5.2 forgets, or tells otherwise than AWS, so that a second plan wants to write it again: a rule's
# description, a connection's type, Lake Formation's hybrid mode; the others follow from the connection.
FORGOTTEN = (
    "aws_vpc_security_group_",
    "aws_glue_connection.",
    "aws_lakeformation_resource.",
    "aws_iam_role_policy.",
)


@pytest.fixture(scope="module")
def applied(applying: Applying) -> Iterator[Workspace]:
    """Yield a workspace with everything made; it is destroyed in the end, which is a test as well."""
    applying.running.wait()
    made = applying.workspace
    yield made
    made.run("state", "rm", *UNDELETABLE)
    told = made.run("destroy", "-input=false", "-auto-approve", *applying.words).stdout
    assert "Destroy complete!" in told
    assert made.run("state", "list").stdout == ""


@pytest.fixture(scope="module")
def client(applied: Workspace, aws_endpoint: str) -> Callable[[str], Any]:  # noqa: ARG001  (is made before)
    def opened(service: str) -> Any:
        keys = {"aws_access_key_id": "reader", "aws_secret_access_key": "a secret of the tests"}
        return boto3.client(service, endpoint_url=aws_endpoint, region_name=REGION, **keys)

    return opened


def test_the_outputs_name_what_is_there(applied: Workspace, client: Callable[[str], Any]) -> None:
    outputs = {
        name: each["value"] for name, each in json.loads(applied.run("output", "-json").stdout).items()
    }
    assert client("glue").get_job(JobName=outputs["job_name"])["Job"]["Role"] == outputs["job_role_arn"]
    assert (
        client("glue").get_database(Name=outputs["iceberg_database"])["Database"]["LocationUri"]
        == (outputs["warehouse"])
    )
    assert client("athena").get_work_group(WorkGroup=outputs["workgroup"])["WorkGroup"]["State"] == "ENABLED"
    assert client("iam").get_policy(PolicyArn=outputs["reader_policy_arn"])["Policy"]["IsAttachable"]
    client("sns").get_topic_attributes(TopicArn=outputs["notices_topic_arn"])


def test_all_that_the_job_names_on_s3_is_there(client: Callable[[str], Any]) -> None:
    job = client("glue").get_job(JobName="iceberg-datamart")["Job"]
    named = [
        job["Command"]["ScriptLocation"],
        job["DefaultArguments"]["--config_s3_path"],
        *job["DefaultArguments"]["--additional-python-modules"].split(","),
    ]
    for place in named:
        bucket, _, key = place.removeprefix("s3://").partition("/")
        found = client("s3").head_object(Bucket=bucket, Key=key)
        assert found["ServerSideEncryption"] == "aws:kms", place


def test_no_policy_allows_a_wildcard_action(client: Callable[[str], Any]) -> None:
    policy = client("iam").get_role_policy(RoleName="iceberg-datamart-job", PolicyName="job")[
        "PolicyDocument"
    ]
    assert len(policy["Statement"]) == 19
    listed = [each["Action"] for each in policy["Statement"]]
    actions = [action for each in listed for action in ([each] if isinstance(each, str) else each)]
    assert [action for action in actions if "*" in action] == []


def test_source_tables_lead_to_the_connection(client: Callable[[str], Any]) -> None:
    name = "account_metadata_datamart_public_queue"
    table = client("glue").get_table(DatabaseName="account_metadata_datamart", Name=name)["Table"]
    assert table["Parameters"]["connectionName"] == "iceberg-datamart-source"
    assert table["StorageDescriptor"]["Location"] == "account_metadata_datamart.public.queue"
    connection = client("glue").get_connection(Name="iceberg-datamart-source")["Connection"]
    assert connection["ConnectionProperties"]["JDBC_ENFORCE_SSL"] == "true"


def test_a_second_plan_changes_nothing(applied: Workspace) -> None:
    words = ["-var-file=example.tfvars", "-var-file=test.tfvars.json"]
    applied.run("plan", "-input=false", "-out=plan", *words)
    document = json.loads(applied.run("show", "-json", "plan").stdout)
    changed = [
        each["address"]
        for each in document["resource_changes"]
        if each["mode"] == "managed" and each["change"]["actions"] != ["no-op"]
    ]
    assert [address for address in changed if not address.startswith(FORGOTTEN)] == []
