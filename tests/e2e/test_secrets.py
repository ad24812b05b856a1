"""A password from Secrets Manager opens the source, and shows nowhere else."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from iceberg_datamart.app.assemble import open_source
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.engines import SPARK
from iceberg_datamart.core.state.watermark import ReadWindow
from iceberg_datamart.lake.spark.jdbc import jdbc_frame
from iceberg_datamart.lake.spark.session import open_session
from support.servers import aws_server
from support.shops.shop import open_shop
from support.worlds import warm_process
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers.aws_server import AwsServer
    from support.worlds.laptop import Databases, Ended, Laptop

    Connection = psycopg.Connection[Any]

PASSWORD = "nobody-may-see-this-9f3b"
ROLE = "secretive"
SECRET = "prd/reader"


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    with aws_server.running() as server:
        yield server


@pytest.fixture(autouse=True)
def _environment(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module", autouse=True)
def _role(databases: Databases) -> None:
    with psycopg.connect(databases.server.url(), autocommit=True) as connection:
        statement = sql.SQL("create role {} login superuser password {}")
        connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(PASSWORD)))


def keep(aws: AwsServer, content: str | bytes) -> str:
    """Make the secret hold `content` and return its ARN."""
    client = aws.client("secretsmanager")
    held = {"SecretString": content} if isinstance(content, str) else {"SecretBinary": content}
    try:
        return client.put_secret_value(SecretId=SECRET, **held)["ARN"]
    except client.exceptions.ResourceNotFoundException:
        return client.create_secret(Name=SECRET, **held)["ARN"]


def configure(laptop: Laptop, secret: str, user: str = "") -> None:
    """Let the laptop's source take its login from a secret."""
    place = urlsplit(laptop.url)
    source = laptop.settings["sources"]["prd"]
    source["url"] = f"postgresql://{user}{place.hostname}:{place.port}{place.path}"
    source["secret"] = secret
    laptop.save()


@pytest.fixture
def shop(laptop: Laptop, connection: Connection) -> Laptop:
    open_shop(laptop, connection)
    return laptop


def told(laptop: Laptop, *ended: Ended) -> str:
    """Return all that commands printed and all files that they left, Spark's event log among them."""
    texts = [each.stdout + each.stderr for each in ended]
    files = (path for path in laptop.directory.rglob("*") if path.is_file())
    texts += [path.read_bytes().decode(errors="replace") for path in files]
    return "\n".join(texts)


@pytest.mark.engines("matrix")
def test_rds_json_gives_user_and_password_and_shows_in_no_output_and_no_log(
    shop: Laptop, aws: AwsServer, connection: Connection
) -> None:
    on_spark = shop.engine == SPARK
    configure(shop, keep(aws, json.dumps({"username": ROLE, "password": PASSWORD, "port": 1})))
    events = shop.directory / "events"
    events.mkdir()
    spark = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": events.as_uri()}
    shop.settings["spark"] = {"properties": {**shop.settings["spark"]["properties"], **spark}}
    shop.save()
    config = ("--config", str(shop.file))
    with warm_process.running(shop.directory, {}) as process:
        verbs = [["plan"], ["run", "--debug"], ["status", "--json"], ["verify", "--json"]]
        ended = [process.run(PROGRAM, *words, *config) for words in verbs]
        assert [each.exit_code for each in ended] == [0] * 4, ended
        # A failure, with its whole story; of Spark, one within it.
        connection.execute("update public.customer set name = 'renamed'")
        text = "raise_error('on purpose') is null" if on_spark else "name <> 'renamed'"
        never = {"type": "expression", "sql": text}
        shop.settings["tables"]["customer"]["checks"] = [never]
        shop.save()
        failed = process.run(PROGRAM, "run", "--load-type", "full", "--json", "--debug", *config)
        assert failed.exit_code == 1, failed.stdout
    found = told(shop, *ended, failed)
    assert any(events.iterdir()) == on_spark
    assert ("Relation" in found) == on_spark, "the event log holds the plans"
    assert PASSWORD not in found
    assert quote(PASSWORD) not in found


def test_a_plain_secret_is_the_password_of_the_urls_user(shop: Laptop, aws: AwsServer) -> None:
    keep(aws, PASSWORD)
    configure(shop, SECRET, user=f"{ROLE}@")
    assert shop.run()["tables"]["customer"]["outcome"] == "merged"


def test_sparks_own_listings_of_a_read_do_not_show_the_password(shop: Laptop, aws: AwsServer) -> None:
    keep(aws, json.dumps({"username": ROLE, "password": PASSWORD}))
    configure(shop, SECRET)
    config = load_config(shop.file, os.environ)
    source = open_source("prd", config.sources["prd"])
    try:
        table = source.describe("customer", config.tables["customer"])
        source.pin_snapshot()
        read = table.read(ReadWindow())
        session = open_session(config)
        frame = jdbc_frame(session, read)
        assert frame.count() == 20
        frame.createOrReplaceTempView("listed")
        shown = [repr(row) for row in session.sql("describe table extended listed").collect()]
        shown += [repr(row) for row in session.sql("explain extended select * from listed").collect()]
        shown += [repr(row) for row in session.sql("explain formatted select * from listed").collect()]
        shown += [repr(row) for row in session.sql("set -v").collect()]
        shown += [
            repr(read),
            repr(config),
            repr(source),
            repr(table),
            frame._jdf.queryExecution().logical().toJSON(),
        ]
    finally:
        source.close()
    assert "JDBCRelation" in "".join(shown)
    assert PASSWORD not in "".join(shown)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps({"username": ROLE, "secret": PASSWORD}), "no text under the key 'password'"),
        (f'{{"password": "{PASSWORD}"', "begins as JSON, and is none"),
        (PASSWORD.encode(), "holds bytes instead of text"),
        (json.dumps({"username": ROLE, "password": PASSWORD + "?"}), "authentication failed"),
    ],
    ids=["without a password", "broken JSON", "bytes", "a wrong password"],
)
def test_a_secret_that_does_not_open_the_source_fails_its_tables_without_being_shown(
    shop: Laptop, aws: AwsServer, content: str | bytes, words: str
) -> None:
    keep(aws, content)
    configure(shop, SECRET)
    ended = shop.command("run", "--debug")
    assert ended.exit_code == 1
    assert words in ended.report["tables"]["customer"]["error"]["message"]
    assert PASSWORD not in told(shop, ended)
    assert shop.timestamp() is None


def test_a_secret_that_is_missing_is_named(shop: Laptop) -> None:
    configure(shop, "prd/raeder")
    error = shop.failing_run()["tables"]["customer"]["error"]
    assert "secret 'prd/raeder' does not exist" in error["message"]


@contextmanager
def refusing(status: int, code: str) -> Iterator[str]:
    """Yield the address of a service that answers every request with one error, as AWS words it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"__type": code, "message": "the service says no"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_secret_that_the_role_may_not_read_names_the_permission(
    shop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(shop, SECRET)
    with refusing(400, "AccessDeniedException") as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
        error = shop.failing_run()["tables"]["customer"]["error"]
    assert "the service says no" in error["message"]
    assert "secretsmanager:GetSecretValue" in error["hint"]


def test_a_service_that_does_not_answer_is_worth_another_run(
    shop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(shop, SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    ended = shop.command("run")
    assert ended.exit_code == 75
    assert "cannot be read" in ended.report["tables"]["customer"]["error"]["message"]
