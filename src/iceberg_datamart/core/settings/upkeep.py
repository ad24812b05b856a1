"""The settings of `maintain`: how long snapshots are kept, and when files are written anew."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from iceberg_datamart.core.settings.rules import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS: Mapping[str, Any] = {
    "keep_days": 7.0,
    "keep_snapshots": 100,
    "min_files": 10,
    "delete_ratio": 0.3,
    "orphan_days": 3.0,
}
_MOST_DAYS = 36_500


class UpkeepConfig(Settings):
    """What `maintain` does to one table; what is not set, the settings of all tables say."""

    keep_days: float | None = Field(
        default=None,
        ge=0,
        le=_MOST_DAYS,
        allow_inf_nan=False,
        description="How long a snapshot that is not current any more can still be read. Not set: 7 days.",
    )
    keep_snapshots: int | None = Field(
        default=None,
        ge=1,
        description="How many snapshots are kept at most, the current one among them. Not set: 100.",
    )
    min_files: int | None = Field(
        default=None,
        ge=2,
        description="How many files a compaction must save, data and delete files together. Not set: 10.",
    )
    delete_ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Part of a data file's rows from which on the file is written again without its deleted "
        "rows. Not set: 0.3.",
    )
    orphan_days: float | None = Field(
        default=None,
        ge=1,
        le=_MOST_DAYS,
        allow_inf_nan=False,
        description="How old a file must be that no snapshot names before it is removed: older than the "
        "longest run. Not set: 3 days.",
    )

    @property
    def keep(self) -> timedelta:
        """Return how long a snapshot that is not current any more can still be read."""
        return timedelta(days=self._set("keep_days"))

    @property
    def most_snapshots(self) -> int:
        """Return how many snapshots are kept at most."""
        return int(self._set("keep_snapshots"))

    @property
    def saved_files(self) -> int:
        """Return how many files a compaction must save."""
        return int(self._set("min_files"))

    @property
    def deleted_part(self) -> float:
        """Return the part of a file's rows from which on it is written again."""
        return float(self._set("delete_ratio"))

    @property
    def orphan_age(self) -> timedelta:
        """Return how old a file must be that no snapshot names before it is removed."""
        return timedelta(days=self._set("orphan_days"))

    def over(self, general: UpkeepConfig) -> UpkeepConfig:
        """Return these settings, and where one is not set that of `general`."""
        both = {name: getattr(general, name) for name in _DEFAULTS}
        own = {name: getattr(self, name) for name in _DEFAULTS if getattr(self, name) is not None}
        return UpkeepConfig(**{**both, **own})

    def _set(self, name: str) -> Any:
        value = getattr(self, name)
        return _DEFAULTS[name] if value is None else value


class MaintainConfig(UpkeepConfig):
    """What `maintain` does to all tables, and whether runs do it, too."""

    when: Literal["auto", "command"] = Field(
        default="command",
        description="`auto`: each run also maintains the tables that it changed, where that is worth it. "
        "`command`: only `maintain` does. `maintain: auto` alone means `{when: auto}`.",
    )


def _block(value: Any) -> Any:
    return {"when": value} if isinstance(value, str) else value


Maintain = Annotated[
    MaintainConfig,
    BeforeValidator(_block, json_schema_input_type=Literal["auto", "command"] | MaintainConfig),
]
