"""Writes down what a job tells Glue."""

import json
import os
from pathlib import Path
from typing import Any

from awsglue.context import GlueContext


class Job:
    def __init__(self, context: GlueContext) -> None:
        assert type(context.spark_context).__name__ == "SparkContext"

    def init(self, job_name: str, arguments: dict[str, Any]) -> None:
        self._note("init", job_name, arguments)

    def commit(self) -> None:
        self._note("commit")

    def _note(self, *words: Any) -> None:
        with Path(os.environ["AWSGLUE_STANDIN_LOG"]).open("a") as log:
            log.write(json.dumps(words) + "\n")
