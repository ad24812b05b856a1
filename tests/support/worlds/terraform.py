"""The Terraform code in a folder of its own, with AWS played by moto's server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CODE = ROOT / "infra"
UNTESTED = "NOT TESTED: infra/ (Terraform)"
# Beside the code, where it may change anything: keys for moto, and no bucket policy, for moto takes
# "TLS only" at its word and would refuse every further request.
_OVERRIDE = """
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "reader"
  secret_key                  = "a secret of the tests"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
"""
NO_BUCKET_POLICY = """
resource "aws_s3_bucket_policy" "lake" {
  count = 0
}
"""


class NoTerraformError(Exception):
    """Terraform, or its AWS provider, is not to be had here."""


@dataclass(frozen=True)
class Workspace:
    """A copy of infra/ that `terraform init` has made ready."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["terraform", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"terraform {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[Running]:
        """Yield a command that goes on by itself; it has ended when the block ends."""
        log = self.folder.parent / f"{words[0]}.log"
        with log.open("w") as told:
            command = ["terraform", *words]
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=told, stderr=told
            )
        with process:
            yield Running(process, log)

    def plan(self, **settings: object) -> Plan:
        """Return what would be made with example.tfvars and, laid over it, `settings`."""
        words = ("-input=false", "-lock=false", "-out=plan", *self.settings(**settings))
        told = self.run("plan", *words).stdout
        return Plan(json.loads(self.run("show", "-json", "plan").stdout), told)

    def settings(self, **settings: object) -> list[str]:
        """Return the options that name the example's settings and, laid over them, `settings`."""
        (self.folder / "test.tfvars.json").write_text(json.dumps(settings), "utf-8")
        return ["-var-file=example.tfvars", "-var-file=test.tfvars.json"]


@dataclass(frozen=True)
class Running:
    """A command of Terraform that has been started."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Return once it has succeeded."""
        assert self.process.wait() == 0, self.log.read_text("utf-8")


@dataclass(frozen=True)
class Plan:
    """What `terraform show -json` says of a plan or a state, and what was told of it when it was made."""

    document: dict[str, Any]
    told: str = ""

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the planned values of each resource by its address."""
        module = self.document["planned_values"]["root_module"]
        return {found["address"]: found for found in module["resources"] if found["mode"] == "managed"}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Return the planned values of all resources of one type."""
        return [found["values"] for found in self.resources.values() if found["type"] == kind]

    def values(self, address: str) -> dict[str, Any]:
        """Return the planned values of one resource."""
        found: dict[str, Any] = self.resources[address]["values"]
        return found

    @property
    def policies(self) -> dict[str, list[dict[str, Any]]]:
        """Return the statements of each policy document by its name.

        A document that names something not yet made is read while applying: then the plan knows all of
        it but such names, which are None here.
        """
        state = self.document.get("prior_state", {}).get("values", {}).get("root_module", {})
        known = {found["name"]: found["values"] for found in state.get("resources", []) if _is_policy(found)}
        changes = self.document["resource_changes"]
        later = {found["name"]: found["change"]["after"] for found in changes if _is_policy(found)}
        return {name: values.get("statement") or [] for name, values in {**known, **later}.items()}


def _is_policy(resource: dict[str, Any]) -> bool:
    return (resource["mode"], resource["type"]) == ("data", "aws_iam_policy_document")


def open_workspace(folder: Path, endpoint: str, *, override: str = "") -> Workspace:
    """Copy the code and what it uploads, and make it ready. Raises: NoTerraformError."""
    if shutil.which("terraform") is None:
        raise NoTerraformError("there is no terraform on PATH")
    code = folder / "infra"
    shutil.copytree(
        CODE, code, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars")
    )
    (code / "test_override.tf").write_text(_OVERRIDE + override, "utf-8")
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    for version in ("4.0", "5.1"):
        wheels = folder / "dist" / f"glue-{version}"
        wheels.mkdir(parents=True)
        for name in ("iceberg_datamart-0.1.0-py3-none-any.whl", "pyiceberg-0.12.0-cp310-cp310-any.whl"):
            (wheels / name).write_bytes(b"")
    made = Workspace(code, _environment(endpoint))
    _initialise(made)
    return made


def _environment(endpoint: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    quiet = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
    return {**own, **quiet, "AWS_ENDPOINT_URL": endpoint}


def _initialise(workspace: Workspace) -> None:
    """Find the provider: in the folders that are named or found, else as Terraform itself finds it.

    Terraform looks where TF_CLI_CONFIG_FILE says, in its conventional folders, and in the registry.
    Raises: NoTerraformError.
    """
    ways = [[f"-plugin-dir={folder}"] for folder in _mirrors()] + [[]]
    for way in ways:
        done = workspace.run("init", "-input=false", *way, may_fail=True)
        if done.returncode == 0:
            return
    says = next((line for line in done.stderr.splitlines() if "Error" in line), "terraform init failed")
    raise NoTerraformError(f"no AWS provider ({says.strip('│ ')}); TF_PLUGIN_DIR may name a folder with one")


def _mirrors() -> list[Path]:
    """Return folders with the provider: the one in TF_PLUGIN_DIR, else those two levels below the root.

    Machines that cannot reach the registry have a copy somewhere, often without saying where.
    """
    named = os.environ.get("TF_PLUGIN_DIR")
    if named:
        return [Path(named)]
    return sorted(found.parents[2] for found in Path("/").glob("*/*/registry.terraform.io/hashicorp/aws"))


def made_network(endpoint: str) -> dict[str, Any]:
    """Make the network that the code is told of, and return it as the setting `network`."""
    ec2 = boto3.client(
        "ec2",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="reader",
        aws_secret_access_key="a secret of the tests",
    )
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zone = "eu-central-1a"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=zone)["Subnet"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="database", Description="PostgreSQL")
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    return {
        "vpc_id": vpc,
        "subnet_id": subnet["SubnetId"],
        "availability_zone": zone,
        "database_security_group_id": group["GroupId"],
        "route_table_ids": [tables[0]["RouteTableId"]],
    }
