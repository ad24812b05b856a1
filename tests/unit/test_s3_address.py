"""Addresses on S3, whose signs stand for themselves, and keys that Hadoop would take for others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.settings.s3_address import S3Address, object_problem, parsed_s3, unreadable_key

BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}", fullmatch=True)


@given(BUCKETS, st.text(min_size=1))
def test_bucket_and_key_are_what_stands_there_whatever_signs_are_in_them(bucket: str, key: str) -> None:
    assert parsed_s3(f"s3://{bucket}/{key}") == S3Address("s3", bucket, key)


@pytest.mark.parametrize(
    "address", ["", "s3:/b/k", "b/k", "/b/k", "s3://", "s3:///k", "s3://b", "http://b/k"]
)
def test_all_else_is_no_address(address: str) -> None:
    assert parsed_s3(address) is None
    assert object_problem(address) is not None


@pytest.mark.parametrize(
    ("key", "readable"),
    [
        ("a/b.csv", True),
        ("a b/c#d?e=%20.csv", True),
        ("a/..b/c..csv", True),
        ("/a.csv", False),
        ("a//b.csv", False),
        ("a/../b.csv", False),
        ("a/./b.csv", False),
        ("a/", False),
    ],
)
def test_a_key_that_hadoop_normalises_is_not_readable(key: str, *, readable: bool) -> None:
    assert (unreadable_key(key) is None) is readable
