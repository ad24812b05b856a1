"""The Glue job: its parameters, its settings, and one run or rerun; the same outside Glue.

A run that failed ends the process with its exit code, which fails the job: `Job.commit` is for success.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from iceberg_datamart.app.assemble import spark_context, text_on_s3
from iceberg_datamart.app.settings_file import Layer, default_config_text, parse_layers, shipped_text
from iceberg_datamart.cli import STOPPING
from iceberg_datamart.cli.options import require_enabled
from iceberg_datamart.cli.output import print_error, print_json
from iceberg_datamart.cli.rerun import rerun_once
from iceberg_datamart.cli.run import run_once
from iceberg_datamart.core.load_types import FULL, INCREMENTAL
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.report.run import unplanned_json
from iceberg_datamart.core.settings.s3_address import has_scheme, object_problem
from iceberg_datamart.errors import ConfigError, DatamartError
from iceberg_datamart.underway.stopping import stoppable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.report.run import RunReport
    from iceberg_datamart.core.report.verification import VerifyReport
    from iceberg_datamart.core.settings.model import Config

# Glue's own argument, which looks like one of ours cut short.
_CONF = "--conf"
# Laid over all else: what the parameter says holds, whatever a configuration says.
_LAST = "version: 1\nstate: {timestamp_file: '${timestamp_s3_path}'}\n"


@dataclass(frozen=True)
class JobParameters:
    """What the job was started with. `tables` is empty for all of them."""

    job_name: str
    database_name: str
    timestamp_s3_path: str
    load_type: str
    config_s3_path: str | None = None
    snapshot_id: int | None = None
    tables: tuple[str, ...] = ()


class _Parser(argparse.ArgumentParser):
    """Answers a wrong or missing parameter by a ConfigError that lists all that is expected."""

    def error(self, message: str) -> NoReturn:
        expected = [
            f"  {action.option_strings[0]} {action.metavar}: {action.help}" for action in self._actions
        ]
        raise ConfigError("\n".join([f"job parameters: {message}. Expected:", *expected]))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the job's parameters. Its errors are ConfigErrors."""
    found = _Parser(prog="datamart_job.py", add_help=False, allow_abbrev=False)
    found.add_argument("--JOB_NAME", metavar="NAME", required=True, help="name of the Glue job")
    found.add_argument(
        "--database_name", metavar="NAME", required=True, type=_text, help="Glue database with the sources"
    )
    found.add_argument(
        "--timestamp_s3_path",
        metavar="s3://…/….csv",
        required=True,
        type=_object,
        help="the timestamp file; without the file, everything is loaded",
    )
    found.add_argument(
        "--load_type",
        metavar="full|incremental",
        required=True,
        choices=[FULL, INCREMENTAL],
        help="full also removes what the sources no longer have",
    )
    found.add_argument(
        "--config_s3_path",
        metavar="s3://…/….yaml",
        type=_object_or_path,
        help="optional: settings, laid over the shipped ones key by key",
    )
    found.add_argument(
        "--snapshot_id", metavar="ID", type=_number, help="optional: run again from this snapshot's state"
    )
    found.add_argument(
        "--tables",
        metavar="NAME,NAME",
        type=_names,
        default=(),
        help="optional: these tables alone, and the marts that they are in",
    )
    return found


def job_parameters(arguments: Sequence[str]) -> JobParameters:
    """Return the parameters among `arguments`; Glue's own others are passed over.

    Raises: ConfigError that lists what is expected, also for a name that is cut short.
    """
    reading = parser()
    known, others = reading.parse_known_args(arguments)
    names = [f"--{name}" for name in vars(known)]
    for other in others:
        word = other.partition("=")[0]
        whole = [name for name in names if word.startswith("--") and name.startswith(word)]
        if whole and word != _CONF:
            reading.error(f"{word} is not {' or '.join(whole)}; write the name in full")
    return JobParameters(job_name=known.JOB_NAME, **{k: v for k, v in vars(known).items() if k != "JOB_NAME"})


def job_config(parameters: JobParameters, environment: Mapping[str, str]) -> Config:
    """Return the shipped settings, the given ones laid over them, and the parameters' over all.

    `${database_name}` and `${timestamp_s3_path}` stand for the parameters. Raises: ConfigError.
    """
    layers = [
        Layer(default_config_text(), "the shipped settings"),
        Layer(shipped_text("glue_job.yaml"), "the job's shipped settings"),
    ]
    if parameters.config_s3_path is not None:
        layers.append(Layer(_read(parameters.config_s3_path), parameters.config_s3_path))
    layers.append(Layer(_LAST, "the job's parameters"))
    given = {
        "database_name": parameters.database_name,
        "timestamp_s3_path": parameters.timestamp_s3_path,
    }
    config = parse_layers(layers, {**environment, **given})
    require_enabled(parameters.tables, config, "--tables")
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job, print its report as one JSON object, and end with its exit code unless that is 0."""
    words = sys.argv[1:] if arguments is None else arguments
    with stoppable(STOPPING["run"]):
        try:
            exit_code = _run(words)
        except DatamartError as error:
            print_json(unplanned_json(error))
            print_error(error)
            exit_code = error.exit_code
    if exit_code:
        sys.exit(exit_code)


def _run(arguments: Sequence[str]) -> int:
    parameters = job_parameters(arguments)
    config = job_config(parameters, os.environ)
    job = _glue_job(parameters, config)
    report = _report(parameters, config)
    print_json(report.as_json())
    for failure in report.failures:
        print_error(failure)
    if report.exit_code == 0 and job is not None:
        job.commit()
    return report.exit_code


def _report(parameters: JobParameters, config: Config) -> RunReport | VerifyReport:
    request = RunRequest(parameters.load_type, parameters.tables)
    if parameters.snapshot_id is None:
        return run_once(config, request)
    return rerun_once(config, request, parameters.snapshot_id)


def _glue_job(parameters: JobParameters, config: Config) -> Any:
    """Return Glue's own job object, begun; None outside Glue.

    https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-crawler-pyspark-extensions-glue-context.html
    """
    try:
        from awsglue.context import GlueContext  # type: ignore[import-not-found]  # noqa: PLC0415  (Glue has it)
        from awsglue.job import Job  # type: ignore[import-not-found]  # noqa: PLC0415
        from awsglue.utils import getResolvedOptions  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        return None
    job = Job(GlueContext(spark_context(config)))
    job.init(parameters.job_name, getResolvedOptions(sys.argv, ["JOB_NAME"]))
    return job


def _read(location: str) -> str:
    if location.startswith("s3://"):
        return text_on_s3(location)
    try:
        return Path(location).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"--config_s3_path: {location} cannot be read: {error}"
        raise ConfigError(
            message, hint="Name a YAML file on S3, such as s3://bucket/datamart.yaml."
        ) from error


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("is empty")
    return value


def _object(value: str) -> str:
    """Return an object's address; a file: URL is one outside Glue, a path would be lost with the worker."""
    problem = object_problem(_text(value))
    if problem is not None and not value.startswith("file:///"):
        raise argparse.ArgumentTypeError(f"{value!r} {problem}")
    return value


def _object_or_path(value: str) -> str:
    return _object(value) if has_scheme(_text(value)) else value


def _number(value: str) -> int:
    if not value.isdecimal():
        raise argparse.ArgumentTypeError(f"{value!r} is no snapshot id, which is a number")
    return int(value)


def _names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("names no table")
    return names
