"""PyIceberg's setting for the process is back as it was once metadata is written."""

from __future__ import annotations

import os

import pytest

from iceberg_datamart.lake.catalog import writing_metadata

SETTING = "PYICEBERG_LEGACY_CURRENT_SNAPSHOT_ID"


@pytest.mark.parametrize("before", [None, "true", "false"])
@pytest.mark.parametrize("empty", [True, False])
def test_the_setting_holds_while_metadata_is_written_and_not_after(
    before: str | None, *, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is None:
        monkeypatch.delenv(SETTING, raising=False)
    else:
        monkeypatch.setenv(SETTING, before)
    with writing_metadata(empty=empty):
        assert os.environ[SETTING] == str(empty).lower()
    assert os.environ.get(SETTING) == before


def test_so_it_is_where_writing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    with pytest.raises(KeyError), writing_metadata(empty=True):
        raise KeyError
    assert SETTING not in os.environ
