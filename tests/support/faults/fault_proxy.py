"""A TCP proxy on the loopback that loses connections at chosen moments, and counts what it lost.

It knows no protocol: a fault is found by the bytes that a client sends, PostgreSQL or HTTP alike.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16
_ANSWER_SECONDS = 10


@dataclass
class Fault:
    """Cut the connection once the regular expression `pattern` is found in what its client sent.

    All that it sent since the last find counts, however many messages it came in.

    With `answer_lost` the server gets the message and its answer is dropped: what was asked for has
    happened. Else the message does not reach the server. The first `skip` matches pass, the next
    `times` are cut; `then` is called before the client can notice.
    """

    pattern: bytes
    answer_lost: bool = True
    skip: int = 0
    times: int = 1
    then: Callable[[], object] | None = None
    fired: int = 0

    def strikes(self, connection: _Connection) -> bool:
        """Return whether to cut the connection now."""
        if self.fired >= self.times or re.search(self.pattern, connection.sent, re.DOTALL) is None:
            return False
        connection.sent = b""
        if self.skip:
            self.skip -= 1
            return False
        self.fired += 1
        return True


class _Connection:
    """One client and its connection to the server; `sent` is the end of what the client said."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.sent = b""
        self.losing, self.answered = threading.Event(), threading.Event()

    def forward_answers(self) -> None:
        with suppress(OSError):
            while chunk := self.server.recv(_CHUNK):
                if self.losing.is_set():
                    self.answered.set()
                else:
                    self.client.sendall(chunk)
        self.close()

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class FaultProxy:
    """Forwards to `host`:`port`, `delay` seconds late, until told otherwise.

    `opened` and `refused` count the clients that were served and turned away.
    """

    host: str
    port: int
    listener: socket.socket
    delay: float = 0.0
    refusing: bool = False
    opened: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    _connections: list[_Connection] = field(default_factory=list)

    def url(self, url: str) -> str:
        """Return the server's address with this proxy in its place."""
        return url.replace(f"@{self.host}:{self.port}/", f"@127.0.0.1:{self.listener.getsockname()[1]}/")

    def add(self, fault: Fault) -> Fault:
        """Return the fault, which is watched for from now on: what was sent before does not count."""
        for connection in self._connections:
            connection.sent = b""
        self.faults.append(fault)
        return fault

    def cut(self) -> int:
        """Cut every open connection; return how many there were."""
        cut, self._connections = self._connections, []
        for connection in cut:
            connection.close()
        return len(cut)

    def refuse(self) -> None:
        """Cut everything, and turn away whoever comes from now on."""
        self.refusing = True
        self.cut()

    def serve(self) -> None:
        """Accept clients until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        if self.refusing:
            self.refused += 1
            client.close()
            return
        try:
            server = socket.create_connection((self.host, self.port))
        except OSError:
            client.close()
            return
        self.opened += 1
        connection = _Connection(client, server)
        self._connections.append(connection)
        threading.Thread(target=connection.forward_answers, daemon=True).start()
        with suppress(OSError):
            self._forward_messages(connection)
        with suppress(ValueError):  # it may have been cut
            self._connections.remove(connection)
        connection.close()

    def _forward_messages(self, connection: _Connection) -> None:
        """Forward what the client sends, until a fault strikes."""
        while chunk := connection.client.recv(_CHUNK):
            time.sleep(self.delay)
            connection.sent = (connection.sent + chunk)[-_CHUNK:]
            fault = next((fault for fault in self.faults if fault.strikes(connection)), None)
            if fault is None:
                connection.server.sendall(chunk)
                continue
            if fault.answer_lost:
                connection.losing.set()
                connection.server.sendall(chunk)
                assert connection.answered.wait(_ANSWER_SECONDS), "the server did not answer"
            if fault.then is not None:
                fault.then()
            return


@contextmanager
def proxied(host: str, port: int) -> Iterator[FaultProxy]:
    """Yield a proxy before `host`:`port` on a free port; it ends with all its connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = FaultProxy(host, port, listener)
        threading.Thread(target=proxy.serve, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.refuse()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
