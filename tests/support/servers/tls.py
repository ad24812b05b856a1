"""Certificates made in the test, and a server's TLS: what PostgreSQL does where it is built with OpenSSL.

The embedded server is built without it, so a door in front of it speaks TLS and hands the rest through.
Protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 16
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: `root` is the file that its clients trust."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    root: Path

    @classmethod
    def made(cls, directory: Path, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, name, key, x509.BasicConstraints(ca=True, path_length=None))
        root = directory / f"{name}.pem"
        root.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate, root)

    def issue(self, directory: Path, host: str) -> Path:
        """Return the file of a key and a certificate for `host`, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        issuer = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        made = _certificate(host, key, issuer, self.key, x509.SubjectAlternativeName([name]))
        path = directory / f"{host}.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
        return path


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
    return builder.sign(signer, hashes.SHA256())


@contextmanager
def tls_before(host: str, port: int, certificate: Path) -> Iterator[int]:
    """Yield the port at which the server at `host`:`port` speaks TLS, and nothing else, to its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, context, host, port), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, context: ssl.SSLContext, host: str, port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_admit, args=(client, context, host, port), daemon=True).start()


def _admit(client: socket.socket, context: ssl.SSLContext, host: str, port: int) -> None:
    with suppress(OSError), client:
        if client.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) != _SSL_REQUEST:
            return
        client.sendall(b"S")
        secured = context.wrap_socket(client, server_side=True)
        with secured, socket.create_connection((host, port)) as server:
            answers = threading.Thread(target=_pass_on, args=(server, secured), daemon=True)
            answers.start()
            _pass_on(secured, server)
            answers.join()


def _pass_on(sender: socket.socket, receiver: socket.socket) -> None:
    with suppress(OSError):
        while chunk := sender.recv(_CHUNK):
            receiver.sendall(chunk)
    with suppress(OSError):
        receiver.shutdown(socket.SHUT_RDWR)
