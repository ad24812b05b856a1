"""Addresses of servers in the settings: malformed ones are refused without a word of the password in them."""

from __future__ import annotations

import re

_HINT = "percent-encode @ : / ? # and % in user and password (@ is %40)"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A host is a name, or an IPv6 address in brackets.
_HOST = re.compile(r"(?:[^:\[\]]*|\[[0-9A-Za-z:.%]+\])(?::[0-9]*)?")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
SQLITE = "sqlite:///"


def address_problem(address: str) -> str | None:
    """Return what is wrong with `scheme://user:password@host:port/…`; None where it means one thing alone.

    An @ outside its place is in a password that is not percent-encoded: what follows it would be taken for
    the host, and shown as such.
    """
    if address.startswith(SQLITE):
        return None  # a path, as it is
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "must start with the kind of server, such as postgresql+psycopg://"
    rest = address[scheme.end() :]
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hosts = place.rpartition("@")[2].split(",")
    faults = {
        "has more than one @": rest.count("@") > 1,
        "has an @ behind the first of / ? #": "@" in rest and "@" not in place,
        "has a #": "#" in rest,
        "has a % that stands for no sign": _STRAY_PERCENT.search(rest) is not None,
        "has no host:port, or a port that is no number": not all(map(_HOST.fullmatch, hosts)),
    }
    return next((f"{fault}; {_HINT}" for fault, is_so in faults.items() if is_so), None)


def shown_address(address: str) -> str:
    """Return the address as messages show it: without user, password and parameters."""
    if address.startswith(SQLITE):
        return address
    scheme = _SCHEME.match(address)
    if scheme is None or address_problem(address) is not None:
        return "(a malformed address)"
    return scheme[0] + re.split(r"[?#]", address[scheme.end() :], maxsplit=1)[0].rpartition("@")[2]
