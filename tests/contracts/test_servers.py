"""Servers come from containers where a Docker engine answers, else from local binaries; tests say which."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from support.servers import parts as servers
from support.servers.parts import CHOICE, Origin, header, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = {"Version": "27.3.1", "ApiVersion": "1.47", "MinAPIVersion": "1.24"}


@contextmanager
def engine(answer: Any, status: int = 200) -> Iterator[str]:
    """Yield the address of what answers every question as an engine answers that for its version."""
    content = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_engine_that_answers_gives_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(ENGINE) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert origin_of({}) == Origin(containers=True, reason="Docker engine 27.3.1")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "unix:///nowhere/docker.sock", "no address"])
def test_an_engine_that_does_not_answer_gives_local_binaries(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert origin_of({}) == Origin(containers=False, reason="no Docker engine answers")


@pytest.mark.parametrize(
    ("answer", "status"), [(ENGINE, 500), ({"Version": "27.3.1"}, 403), (b"<html>", 200)]
)
def test_something_else_at_the_engines_address_is_no_engine(
    monkeypatch: pytest.MonkeyPatch, answer: Any, status: int
) -> None:
    with engine(answer, status) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert not origin_of({}).containers


def test_the_environment_may_ask_for_local_binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(ENGINE) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert origin_of({CHOICE: "local"}) == Origin(containers=False, reason=f"{CHOICE}=local")
        with pytest.raises(AssertionError, match="it may be 'local'"):
            origin_of({CHOICE: "docker"})


def test_the_header_says_what_runs_and_why() -> None:
    here, there = (
        header(Origin(containers=False, reason="why not")),
        header(Origin(containers=True, reason="Docker engine 27.3.1")),
    )
    assert here[0].startswith("PostgreSQL: local binaries 16.")
    assert here[0].endswith(" (why not)")
    assert here[1].startswith("S3: local binary, SeaweedFS 4.")
    assert there == [
        "PostgreSQL: container postgres:16 (Docker engine 27.3.1)",
        f"S3: container {servers.S3_IMAGE} (Docker engine 27.3.1)",
    ]
