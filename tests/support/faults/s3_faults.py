"""A proxy in front of an S3 server that answers as a busy or broken S3 does."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>on purpose</Message></Error>"
_STATUS = {"SlowDown": 503, "ServiceUnavailable": 503, "NotImplemented": 501, "AccessDenied": 403}
_OWN_HEADERS = {"connection", "transfer-encoding", "keep-alive", "content-length"}


@dataclass(frozen=True)
class Request:
    """One request: its number from 1 on, its method, and whether it depends on what is stored."""

    number: int
    method: str
    is_conditional: bool = False


def none(_: Request) -> None:
    """Let everything pass."""


@dataclass
class Faults:
    """Which requests fail, and with which of S3's errors; `fired` counts them by name.

    Those that `refused` names are not carried out. Those that `lost` names are, and are answered with an
    error all the same.
    """

    endpoint: str
    refused: Callable[[Request], str | None] = none
    lost: Callable[[Request], str | None] = none
    fired: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, *, is_conditional: bool) -> Request:
        with self.lock:
            self.requests += 1
            return Request(self.requests, method, is_conditional)


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on as they came, signatures included."""

    protocol_version = "HTTP/1.1"
    faults: ClassVar[Faults]

    def handle_any(self) -> None:
        conditional = any(name in self.headers for name in ("If-Match", "If-None-Match"))
        request = self.faults.next(self.command, is_conditional=conditional)
        body = self._body()
        error, answer = self.faults.refused(request), None
        if error is None:
            answer = self._forwarded(body)
            error = self.faults.lost(request)
        if error is None and answer is not None:
            self._answer(*answer)
            return
        self.faults.fired[str(error)] += 1
        status = _STATUS.get(str(error), 500)
        self._answer(status, {"Content-Type": "application/xml"}, _ERROR.format(error))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815  (the library's names)

    @property
    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _body(self) -> bytes:
        if not self._is_chunked:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            """Trailers end with an empty line."""
        return b"".join(parts)

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = urlsplit(self.faults.endpoint)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            content = [body] if self._is_chunked and body else body
            connection.endheaders(content, encode_chunked=self._is_chunked)
            found = connection.getresponse()
            return found.status, dict(found.getheaders()), found.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes | str) -> None:
        content = body.encode() if isinstance(body, str) else body
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away: killed runs do."""


@contextlib.contextmanager
def proxied(endpoint: str) -> Iterator[tuple[str, Faults]]:
    """Yield the proxy's endpoint in front of `endpoint`, and the faults it makes: none yet."""
    faults = Faults(endpoint)
    handler = type("Handler", (_Handler,), {"faults": faults})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
