"""The job's parameters and settings: everything that happens before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.errors import ConfigError
from iceberg_datamart.glue_job import JobParameters, job_config, job_parameters, main

if TYPE_CHECKING:
    from pathlib import Path

    from iceberg_datamart.core.settings.model import Config

OLD = ["--JOB_NAME", "datamart", "--database_name", "prd", "--timestamp_s3_path", "s3://b/t.csv"]
INCREMENTAL = [*OLD, "--load_type", "incremental"]
# What Glue passes besides: https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
GLUES_OWN = [
    *("--job-bookmark-option", "job-bookmark-disable", "--TempDir", "s3://b/tmp/", "--JOB_ID", "j_1"),
    *(
        "--JOB_RUN_ID",
        "jr_1",
        "--job-language",
        "python",
        "--datalake-formats",
        "iceberg",
        "--enable-metrics",
    ),
    *("--conf", "spark.a=1 --conf spark.b=2", "--additional-python-modules", "x", "--encryption-type=sse-s3"),
]
EXPECTED = (
    "--JOB_NAME",
    "--database_name",
    "--timestamp_s3_path",
    "--load_type",
    "--config_s3_path",
    "--snapshot_id",
    "--tables",
)


def test_the_parameters_of_the_old_job_are_enough() -> None:
    assert job_parameters(INCREMENTAL) == JobParameters("datamart", "prd", "s3://b/t.csv", "incremental")


def test_glues_own_arguments_are_passed_over_wherever_they_stand() -> None:
    assert job_parameters([*GLUES_OWN, *INCREMENTAL, *GLUES_OWN]) == job_parameters(INCREMENTAL)


def test_optional_parameters_are_read() -> None:
    found = job_parameters([*INCREMENTAL, "--config_s3_path=c", "--snapshot_id", "7", "--tables", "a, b,"])
    assert (found.config_s3_path, found.snapshot_id, found.tables) == ("c", 7, ("a", "b"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--JOB_NAME, --database_name, --timestamp_s3_path, --load_type"),
        (OLD, "--load_type"),
        ([*OLD, "--load_type", "Full"], "'Full'"),
        ([*OLD, "--load_type", ""], "''"),
        ([*INCREMENTAL, "--database_name", " "], "--database_name: is empty"),
        ([*INCREMENTAL, "--timestamp_s3_path", "s3:/b/t.csv"], "'s3:/b/t.csv' is not of the form s3://"),
        ([*INCREMENTAL, "--timestamp_s3_path", "b/t.csv"], "'b/t.csv' is not of the form s3://bucket/key"),
        ([*INCREMENTAL, "--timestamp_s3_path", "s3://b/"], "'s3://b/' names a folder"),
        ([*INCREMENTAL, "--config_s3_path", "s3:/b/c.yaml"], "'s3:/b/c.yaml' is not of the form s3://"),
        ([*INCREMENTAL, "--snapshot_id", "last"], "'last' is no snapshot id"),
        ([*INCREMENTAL, "--snapshot_id", "-7"], "'-7' is no snapshot id"),
        ([*INCREMENTAL, "--tables", ","], "names no table"),
        ([*INCREMENTAL, "--tables"], "--tables: expected one argument"),
        ([*INCREMENTAL, "--table", "a"], "--table is not --tables; write the name in full"),
        ([*INCREMENTAL, "--snapshot=7"], "--snapshot is not --snapshot_id; write the name in full"),
        ([*OLD, "--load", "full"], "--load_type"),
    ],
)
def test_what_is_wrong_or_missing_is_answered_by_all_that_is_expected(
    arguments: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        job_parameters(arguments)
    assert said in raised.value.message
    assert all(name in raised.value.message for name in EXPECTED)


def test_a_wrong_parameter_ends_the_job_with_the_exit_code_of_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*OLD, "--load_type", "all"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert '"status": "failed"' in shown.out
    assert "invalid choice: 'all'" in shown.err


def configured(
    overlay: str | None = None, *, tables: tuple[str, ...] = (), folder: Path | None = None
) -> Config:
    path = None
    if overlay is not None and folder is not None:
        file = folder / "overlay.yaml"
        file.write_text(overlay)
        path = str(file)
    parameters = JobParameters("j", "prd", "s3://b/t.csv", "full", config_s3_path=path, tables=tables)
    return job_config(parameters, {"HOME": "here"})


def test_without_a_configuration_the_six_tables_of_the_crawler_are_loaded() -> None:
    config = configured()
    prefix = "account_metadata_datamart_public_"
    assert {name: str(table.from_) for name, table in config.tables.items()} == {
        name: prefix + name
        for name in (
            *("account", "account_metadata", "account_risk", "queue", "settlement_transaction", "adjustment"),
        )
    }
    assert config.database == "prd_iceberg"
    assert config.catalog.type == "glue"
    assert config.catalog.warehouse == "s3://iceberg-logics-sandeep/datamart/prd/"
    assert config.state.timestamp_file == "s3://b/t.csv"
    assert list(config.marts) == ["account_settlements"]


def test_a_configuration_is_laid_over_the_shipped_one_key_by_key(tmp_path: Path) -> None:
    overlay = (
        "version: 1\ncatalog: {properties: {glue.endpoint: here}}\ntables: {adjustment: {enabled: no}}\n"
    )
    config, shipped = configured(overlay, folder=tmp_path), configured()
    assert config.catalog == shipped.catalog.model_copy(update={"properties": {"glue.endpoint": "here"}})
    assert config.tables["account"] == shipped.tables["account"]
    assert config.tables["adjustment"] == shipped.tables["adjustment"].model_copy(update={"enabled": False})


def test_a_block_of_another_type_replaces_the_one_below(tmp_path: Path) -> None:
    overlay = "version: 1\nsources: {prd: {type: postgres, url: 'postgresql://reader@db/prd'}}\n"
    assert configured(overlay, folder=tmp_path).sources["prd"].type == "postgres"


def test_the_parameter_holds_whatever_the_configuration_says_of_the_timestamp_file(tmp_path: Path) -> None:
    overlay = "version: 1\nstate: {timestamp_file: s3://other/t.csv, on_missing: use_snapshots}\n"
    state = configured(overlay, folder=tmp_path).state
    assert (state.timestamp_file, state.on_missing) == ("s3://b/t.csv", "use_snapshots")


def test_a_problem_is_told_by_the_file_and_the_line_where_it_stands(tmp_path: Path) -> None:
    overlay = "version: 1\ntables:\n  account:\n    lookback_minutes: soon\n"
    with pytest.raises(ConfigError) as raised:
        configured(overlay, folder=tmp_path)
    heading, problem = raised.value.message.splitlines()
    assert heading == f"1 problem in {tmp_path / 'overlay.yaml'}:"
    assert problem.startswith("  line 4: tables.account.lookback_minutes:")


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    parameters = JobParameters("j", "prd", "s3://b/t.csv", "full", config_s3_path=str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"--config_s3_path: .*none\.yaml cannot be read"):
        job_config(parameters, {})


def test_a_table_that_nobody_configured_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="--tables: there is no enabled table 'queues'"):
        configured(tables=("account", "queues"))
