"""What would be made: encrypted, closed to the public, one run at a time, and watched."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from support.worlds.terraform import ROOT

if TYPE_CHECKING:
    from support.worlds.terraform import Plan

RUNTIMES = {"default_plan": "4.0", "whole_plan": "5.1"}
METRICS = {"FailedTables", "LagSeconds", "RunSeconds"}
# Of each metric, as the reference has them; another test compares that page with the code.
DIMENSIONS = dict(
    re.findall(
        r"^\| `(\w+)` \| \w+ \| ([\w, ]+) \|", (ROOT / "docs/metrics.md").read_text("utf-8"), re.MULTILINE
    )
)


@pytest.mark.parametrize(("name", "version"), RUNTIMES.items())
def test_both_runtimes_can_be_had(request: pytest.FixtureRequest, name: str, version: str) -> None:
    plan: Plan = request.getfixturevalue(name)
    job = plan.values("aws_glue_job.datamart")
    assert (job["glue_version"], job["command"][0]["name"]) == (version, "glueetl")
    wheels = job["default_arguments"]["--additional-python-modules"].split(",")
    place = f"s3://iceberg-logics-sandeep/artifacts/wheels/{version}/"
    assert len(wheels) == len(set(wheels)) == 2
    assert all(wheel.startswith(place) and wheel.endswith(".whl") for wheel in wheels)


def test_no_job_runs_twice_at_once(plan: Plan) -> None:
    jobs = plan.of_type("aws_glue_job")
    assert [job["execution_property"][0]["max_concurrent_runs"] for job in jobs] == [1] * len(jobs)


def test_iceberg_is_glues_own_unless_jars_are_named(plan: Plan) -> None:
    arguments = plan.values("aws_glue_job.datamart")["default_arguments"]
    assert arguments["--datalake-formats"] == "iceberg"
    assert "--extra-jars" not in arguments


def test_the_bucket_is_closed_to_the_public(plan: Plan) -> None:
    (block,) = plan.of_type("aws_s3_bucket_public_access_block")
    assert {name: value for name, value in block.items() if name != "bucket"} == {
        "block_public_acls": True,
        "block_public_policy": True,
        "ignore_public_acls": True,
        "restrict_public_buckets": True,
    }
    (owner,) = plan.of_type("aws_s3_bucket_ownership_controls")
    assert owner["rule"][0]["object_ownership"] == "BucketOwnerEnforced"


def test_the_bucket_speaks_tls_alone(plan: Plan) -> None:
    (statement,) = plan.policies["bucket"]
    assert statement["effect"] == "Deny"
    assert statement["condition"] == [
        {"test": "Bool", "values": ["false"], "variable": "aws:SecureTransport"}
    ]
    assert [who["type"] for who in statement["principals"]] == ["*"]
    assert len(plan.of_type("aws_s3_bucket_policy")) == 1


def test_overwritten_objects_are_kept_for_a_while(plan: Plan) -> None:
    (versioning,) = plan.of_type("aws_s3_bucket_versioning")
    assert versioning["versioning_configuration"][0]["status"] == "Enabled"
    (lifecycle,) = plan.of_type("aws_s3_bucket_lifecycle_configuration")
    rules = {rule["id"]: rule for rule in lifecycle["rule"]}
    assert rules["overwritten-objects"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 30
    assert rules["broken-uploads"]["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 7


def test_no_rule_lets_a_tables_files_expire(plan: Plan) -> None:
    (lifecycle,) = plan.of_type("aws_s3_bucket_lifecycle_configuration")
    ending = [rule for rule in lifecycle["rule"] if any(each.get("days") for each in rule["expiration"])]
    assert [rule["filter"][0]["prefix"] for rule in ending] == ["athena-results/"]


def test_everything_at_rest_is_encrypted_by_the_key(plan: Plan) -> None:
    (key,) = plan.of_type("aws_kms_key")
    assert key["enable_key_rotation"]
    (bucket,) = plan.of_type("aws_s3_bucket_server_side_encryption_configuration")
    default = bucket["rule"][0]["apply_server_side_encryption_by_default"][0]
    assert (default["sse_algorithm"], bucket["rule"][0]["bucket_key_enabled"]) == ("aws:kms", True)
    (security,) = plan.of_type("aws_glue_security_configuration")
    parts = security["encryption_configuration"][0]
    assert parts["cloudwatch_encryption"][0]["cloudwatch_encryption_mode"] == "SSE-KMS"
    assert parts["job_bookmarks_encryption"][0]["job_bookmarks_encryption_mode"] == "CSE-KMS"
    assert parts["s3_encryption"][0]["s3_encryption_mode"] == "SSE-KMS"
    assert {job["security_configuration"] for job in plan.of_type("aws_glue_job")} == {security["name"]}
    unknown = [change for change in plan.document["resource_changes"] if change["type"] == "aws_sns_topic"]
    assert unknown[0]["change"]["after_unknown"]["kms_master_key_id"] is True  # the key that is made


def test_athena_encrypts_results_and_ends_endless_queries(plan: Plan) -> None:
    (workgroup,) = plan.of_type("aws_athena_workgroup")
    (settings,) = workgroup["configuration"]
    (results,) = settings["result_configuration"]
    assert settings["enforce_workgroup_configuration"]
    assert settings["engine_version"][0]["selected_engine_version"] == "Athena engine version 3"
    assert settings["bytes_scanned_cutoff_per_query"] == 100 * 1024**3
    assert results["encryption_configuration"][0]["encryption_option"] == "SSE_KMS"
    assert results["output_location"].endswith("/athena-results/")


def test_named_queries_travel_in_time(plan: Plan) -> None:
    queries = {query["name"]: query["query"] for query in plan.of_type("aws_athena_named_query")}
    assert "FOR TIMESTAMP AS OF" in queries["time-travel"]
    assert "FOR VERSION AS OF" in queries["version-as-of"]
    assert '"account$history"' in queries["history"]
    assert queries["freshness"].count("UNION ALL") == 5
    assert not [name for name, text in queries.items() if "${" in text or "%{" in text]


def test_postgresql_is_reached_by_tls_with_a_secret(plan: Plan) -> None:
    (connection,) = plan.of_type("aws_glue_connection")
    properties = connection["connection_properties"]
    assert set(properties) == {"JDBC_CONNECTION_URL", "JDBC_ENFORCE_SSL", "SECRET_ID"}
    assert properties["JDBC_ENFORCE_SSL"] == "true"


def test_nobody_is_let_in_but_workers_and_their_endpoints(plan: Plan) -> None:
    rules = plan.of_type("aws_vpc_security_group_ingress_rule")
    assert rules
    assert [rule for rule in rules if rule["cidr_ipv4"] or rule["cidr_ipv6"]] == []


def test_failures_staleness_and_silence_are_told(plan: Plan) -> None:
    alarms = {alarm["alarm_name"]: alarm for alarm in plan.of_type("aws_cloudwatch_metric_alarm")}
    assert {alarm["metric_name"] for alarm in alarms.values()} == METRICS
    assert {alarm["namespace"] for alarm in alarms.values()} == {"IcebergDatamart"}
    assert len([name for name in alarms if "-stale-" in name]) == 6
    silence = alarms["iceberg-datamart-no-run"]
    assert (silence["treat_missing_data"], silence["statistic"]) == ("breaching", "SampleCount")
    for alarm in alarms.values():
        assert ", ".join(alarm["dimensions"]) == DIMENSIONS[alarm["metric_name"]], alarm["alarm_name"]
    changes = plan.document["configuration"]["root_module"]["resources"]
    told = [each for each in changes if each["type"] == "aws_cloudwatch_metric_alarm"]
    topics = [each["expressions"]["alarm_actions"]["references"][0] for each in told]
    assert topics == ["aws_sns_topic.notices.arn"] * 3


def test_a_failed_run_of_either_job_is_told(whole_plan: Plan) -> None:
    (rule,) = whole_plan.of_type("aws_cloudwatch_event_rule")
    pattern = json.loads(rule["event_pattern"])
    assert pattern["detail-type"] == ["Glue Job State Change"]
    assert pattern["detail"]["state"] == ["FAILED", "TIMEOUT", "STOPPED"]
    assert pattern["detail"]["jobName"] == [job["name"] for job in whole_plan.of_type("aws_glue_job")]


def test_a_subnet_without_a_gateway_reaches_all_that_the_job_calls(whole_plan: Plan) -> None:
    services = {each["service_name"].rsplit(".", 1)[1] for each in whole_plan.of_type("aws_vpc_endpoint")}
    assert services == {"s3", "glue", "kms", "logs", "monitoring", "secretsmanager", "sts"}


def test_lake_formation_lets_the_job_write_and_readers_read(whole_plan: Plan) -> None:
    granted = {
        address.removeprefix("aws_lakeformation_permissions."): set(found["values"]["permissions"])
        for address, found in whole_plan.resources.items()
        if found["type"] == "aws_lakeformation_permissions"
    }
    readers = {name: rights for name, rights in granted.items() if name.startswith("reader_")}
    assert {"INSERT", "DELETE", "ALTER"} <= granted["job_tables[0]"]
    assert set.union(*readers.values()) == {"DESCRIBE", "SELECT"}
