"""The timestamp file: a CSV with one `last_load_timestamp`, replaced only by compare-and-swap (R6)."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote, urlsplit

from iceberg_datamart.core.settings.s3_address import has_scheme
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import ConfigError, TimestampFileConflictError, TimestampFileError
from iceberg_datamart.stores.file_lock import file_lock, write_new

HEADER = "last_load_timestamp"
_FORM = "%Y-%m-%d %H:%M:%S"
_LINE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def parse_timestamp(content: bytes, where: str) -> datetime:
    """Return the instant that a timestamp file says, in UTC. Raises: TimestampFileError, showing the line."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    filled = [line.strip() for line in lines if line.strip()]
    expected = [HEADER, *filled[1:2]]
    if len(filled) != len(expected) or filled != expected or not _LINE.fullmatch(filled[-1]):
        wrong = next((line for line in filled if line != HEADER and not _LINE.fullmatch(line)), None)
        shown = "it is empty" if not filled else f"it reads {wrong or ' | '.join(filled)!r}"
        raise _malformed(where, shown[:200])
    try:
        return datetime.strptime(filled[-1], _FORM).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise _malformed(where, f"it reads {filled[-1]!r}, which is no date") from error


def timestamp_text(instant: datetime) -> str:
    """Return the content of a timestamp file that says `instant`, cut to the second."""
    return f"{HEADER}\n{instant.astimezone(timezone.utc).strftime(_FORM)}\n"


def conflict(where: str, present: datetime | None, expected: datetime | None) -> TimestampFileConflictError:
    """Return the error of a write that found another content than expected."""
    message = f"timestamp file {where} says {present}, not {expected} as when this run began"
    return TimestampFileConflictError(message, hint="Another run or a person changed it: run again.")


def local_path(location: str) -> Path:
    """Return the path that a setting means. Raises: ConfigError for places not supported."""
    if not has_scheme(location):
        return Path(location)
    hint = "Use a path, a URL such as file:///folder/last.csv, or an address such as s3://bucket/last.csv."
    place = urlsplit(location)
    if place.scheme != "file":
        message = f"state.timestamp_file: '{location}' is no path, and none of the addresses that are known"
        raise ConfigError(message, hint=hint)
    if place.netloc or "#" in location or "?" in location:
        message = f"state.timestamp_file: '{location}' has a server's name, # or ? in it"
        raise ConfigError(message, hint=f"In a file: URL, # is %23 and ? is %3F. {hint}")
    return Path(unquote(place.path))


class LocalTimestampFile:
    """A timestamp file in a folder. Writers take a lock beside it; readers see the old or the new one."""

    def __init__(self, path: Path) -> None:
        """Name the file; it need not exist."""
        self._path = path

    def read(self) -> datetime | None:
        """Return the instant it says, None where it is missing. Raises: TimestampFileError."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TimestampFileError(
                f"timestamp file {self._path} cannot be read: {error.strerror}"
            ) from error
        return parse_timestamp(content, str(self._path))

    def write(self, instant: datetime, expected: datetime | None) -> None:
        """Replace `expected` by `instant`.

        Raises: TimestampFileConflictError where the file says another, TimestampFileLockedError where another
        process does not let go of it.
        """
        try:
            self._replace(instant, expected)
        except OSError as error:
            message = f"timestamp file {self._path} cannot be written: {error.strerror}"
            hint = "Correct the folder and run again: the tables are committed, nothing is read twice."
            raise TimestampFileError(message, hint=hint) from error

    def _replace(self, instant: datetime, expected: datetime | None) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self._path.with_name(self._path.name + ".lock")):
            present = self.read()
            if present != expected:
                raise conflict(str(self._path), present, expected)
            draft = self._path.with_name(self._path.name + ".new")
            write_new(draft, timestamp_text(instant))
            crash_point("timestamp-drafted")
            draft.replace(self._path)


def _malformed(where: str, what: str) -> TimestampFileError:
    message = f"timestamp file {where} is malformed: {what}"
    form = f"'{HEADER}', then one line such as '2026-01-31 08:15:00' (UTC)"
    return TimestampFileError(message, hint=f"Write {form}; or remove the file for a full load.")
