"""What Terraform hands to the job is what the job takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.glue_job import job_config, job_parameters, parser

if TYPE_CHECKING:
    from pathlib import Path

    from support.worlds.terraform import Plan, Workspace

# https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
GLUES_OWN = {
    "--additional-python-modules",
    "--conf",
    "--datalake-formats",
    "--enable-continuous-cloudwatch-log",
    "--extra-jars",
    "--job-bookmark-option",
    "--job-language",
    "--python-modules-installer-option",
    "--user-jars-first",
}
# Glue adds it by itself.
GIVEN_BY_GLUE = "--JOB_NAME"


def arguments(plan: Plan) -> dict[str, str]:
    return plan.values("aws_glue_job.datamart")["default_arguments"]


def words(plan: Plan) -> list[str]:
    pairs = {GIVEN_BY_GLUE: "iceberg-datamart", **arguments(plan)}
    return [word for pair in pairs.items() for word in pair]


def test_every_argument_is_the_jobs_or_glues_own(plan: Plan) -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    assert set(arguments(plan)) - known - GLUES_OWN == set()


def test_no_argument_that_the_job_needs_is_missing(plan: Plan) -> None:
    needed = {action.option_strings[0] for action in parser()._actions if action.required}
    assert needed - set(arguments(plan)) == {GIVEN_BY_GLUE}


def test_the_job_reads_them_as_they_are(plan: Plan) -> None:
    found = job_parameters(words(plan))
    assert found.database_name == "account_metadata_datamart"
    assert found.timestamp_s3_path == "s3://iceberg-logics-sandeep/state/last_load_timestamp.csv"
    assert found.load_type == "incremental"
    assert (found.snapshot_id, found.tables) == (None, ())


def test_spark_settings_are_one_argument(plan: Plan) -> None:
    settings = arguments(plan)["--conf"].split(" --conf ")
    assert all(setting.startswith("spark.") for setting in settings)
    assert "spark.driver.extraJavaOptions=-Duser.timezone=UTC" in settings
    assert "spark.executor.extraJavaOptions=-Duser.timezone=UTC" in settings


@pytest.mark.parametrize("bucket", ["iceberg-logics-sandeep", "another-bucket"])
def test_the_uploaded_configuration_leads_into_the_bucket(
    workspace: Workspace, tmp_path: Path, bucket: str
) -> None:
    plan = workspace.plan(bucket_name=bucket)
    path = tmp_path / "datamart.yaml"
    path.write_text(plan.values("aws_s3_object.config")["content"], "utf-8")
    at = words(plan).index("--config_s3_path") + 1
    config = job_config(job_parameters([*words(plan)[:at], str(path), *words(plan)[at + 1 :]]), {})
    database = plan.values("aws_glue_catalog_database.iceberg")
    assert config.catalog.warehouse == f"s3://{bucket}/datamart/account_metadata_datamart"
    assert config.state.timestamp_file == f"s3://{bucket}/state/last_load_timestamp.csv"
    assert (config.database, config.catalog.warehouse) == (database["name"], database["location_uri"])


def test_the_source_tables_are_those_that_the_job_looks_for(default_plan: Plan) -> None:
    config = job_config(job_parameters(words(default_plan)[:2] + job_words(default_plan)), {})
    made = {table["name"] for table in default_plan.of_type("aws_glue_catalog_table")}
    assert made == {str(table.from_) for table in config.tables.values()}


def job_words(plan: Plan) -> list[str]:
    own = ("--database_name", "--timestamp_s3_path", "--load_type")
    return [word for name in own for word in (name, arguments(plan)[name])]
