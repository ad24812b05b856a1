"""Addresses on S3: bucket and key stand for themselves, whatever signs are in a key."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Not as URLs are: `#`, `?` and `%` are signs of a key like any other.
_ADDRESS = re.compile(r"(s3|s3a|s3n)://([^/]+)/(.*)", re.DOTALL)
# Two letters at least, for a path may begin with a drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True)
class S3Address:
    """An object, or the folder that all keys below `key` are in."""

    scheme: str
    bucket: str
    key: str


def parsed_s3(address: str) -> S3Address | None:
    """Return what `s3://bucket/key` names; None for all else."""
    found = _ADDRESS.fullmatch(address)
    return None if found is None else S3Address(found[1], found[2], found[3])


def object_problem(address: str) -> str | None:
    """Return why an address names no object on S3 as `s3://bucket/key` does; None where it does."""
    found = parsed_s3(address)
    if found is None or found.scheme != "s3":
        return "is not of the form s3://bucket/key"
    if not found.key or found.key.endswith("/"):
        return "names a folder, not an object"
    return None


def has_scheme(place: str) -> bool:
    """Return whether a place begins as a URL does, with one slash or two: it is no path then."""
    return _SCHEME.match(place) is not None


def unreadable_key(key: str) -> str | None:
    """Return why Hadoop would open another object than `key`; None where it opens this one.

    Its paths are normalised: https://hadoop.apache.org/docs/r3.3.4/hadoop-project-dist/hadoop-common/filesystem/model.html
    """
    parts = key.split("/")
    if key.startswith("/"):
        return "it begins with a slash"
    if "" in parts[:-1]:
        return "it has two slashes side by side"
    if key.endswith("/"):
        return "it ends with a slash"
    if {".", ".."} & set(parts):
        return "it has . or .. for a folder"
    return None
