"""Every deliberate error of this package: what went wrong, with the values, and the fix.

DatamartError                    1  something failed
├── ConfigError                  2  settings that cannot work; nothing was read or written
├── MissingPartError             2  Java, Spark or PostgreSQL is not on this machine
├── TimestampFileError           2  the timestamp file says nothing that can be trusted
├── SourceError                  1  a source cannot be read
│   ├── SourceUnreachableError  75  the connection or the consistent point failed or was lost (retryable)
│   ├── SourceLockedError       75  another session kept a table locked for too long (retryable)
│   ├── SourceRefusedError       1  the server does not let this role or password in, or has no such database
│   ├── SecretError              1  the secret with a source's password is missing or malformed
│   ├── SourceTableMissingError  1  the table or one of its columns is not there
│   ├── SourceIdentityError      1  the mirror was filled from another source (R13)
│   ├── DuplicateKeyError        1  rows share a primary key that no constraint proves (R18)
│   └── UnfitValueError          1  a value that the mirror's type cannot hold (R10)
├── CheckError                   1  rows that a check does not allow; nothing of the table was committed
├── LakeError                    1  Iceberg or an engine refused
│   ├── SchemaChangeError        1  a column changed in a way that Iceberg cannot follow
│   ├── DeleteGuardError         1  a run would remove more rows than allowed
│   ├── AuditError               1  a staged snapshot is not as audits want it; it was not published
│   ├── NeedsSparkError          1  what the in-process engine leaves to Spark; nothing was written
│   ├── MetadataMissingError     1  the catalog points to a metadata file that is gone; `repair` corrects it
│   ├── CatalogUnreachableError 75  the catalog does not answer, so nothing was published (retryable)
│   ├── CommitUnknownError      75  a commit was sent, and the catalog cannot be asked about it (retryable)
│   └── CommitConflictError     75  another writer committed first (retryable)
├── LagError                     1  `status` found a table that lags more than was allowed
├── StateRefusedError            1  S3 refuses the timestamp file, or what lies beside it
├── StateUnreachableError       75  S3 does not answer about the timestamp file (retryable)
├── TimestampFileLockedError    75  another process holds the timestamp file's lock (retryable)
└── TimestampFileConflictError  75  another run moved the timestamp file (retryable)
"""

from __future__ import annotations


class DatamartError(Exception):
    """Something failed that a person can correct; `hint` says how."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Take what happened, with the values, and the next command or the setting to change."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(DatamartError):
    """The settings cannot work; the message lists every problem with its path and line."""

    exit_code = 2


class MissingPartError(DatamartError):
    """A program that the job stands on is not on this machine."""

    exit_code = 2


class TimestampFileError(DatamartError):
    """The timestamp file is malformed; never taken for a missing one (R5)."""

    exit_code = 2


class LagError(DatamartError):
    """A table lags by more than who watches the job allows."""


class StateRefusedError(DatamartError):
    """The store of the timestamp file refuses, or cannot be asked: trying again is no use."""


class StateUnreachableError(DatamartError):
    """The store of the timestamp file does not answer, also after retries."""

    exit_code = 75
    retryable = True


class TimestampFileLockedError(DatamartError):
    """Another process held the lock beside the timestamp file for as long as a run waits for it."""

    exit_code = 75
    retryable = True


class TimestampFileConflictError(DatamartError):
    """The timestamp file changed between this run's reading and writing it."""

    exit_code = 75
    retryable = True


class SourceError(DatamartError):
    """A source cannot be read."""


class SourceUnreachableError(SourceError):
    """The connection to a source failed or was lost, or its consistent point was."""

    exit_code = 75
    retryable = True


class SourceLockedError(SourceError):
    """Another session held a lock on a source table for as long as the settings wait for one (R16)."""

    exit_code = 75
    retryable = True


class SourceRefusedError(SourceError):
    """The server is there, and refuses this role, password or database: trying again is no use."""


class SecretError(SourceError):
    """AWS Secrets Manager does not give a usable password; what a secret holds is never shown."""


class SourceTableMissingError(SourceError):
    """A source table, or a column that the settings name, does not exist."""


class SourceIdentityError(SourceError):
    """The mirror was filled from another server, database or table (R13)."""


class DuplicateKeyError(SourceError):
    """Rows share what the settings call their primary key; to keep one would lose the others (R18)."""


class UnfitValueError(SourceError):
    """A source value does not fit the mirror's type; rounding it is not an option (R10)."""


class CheckError(DatamartError):
    """A check with `on_fail: error` found rows; nothing of the table was committed."""


class LakeError(DatamartError):
    """Iceberg or an engine refused."""


class SchemaChangeError(LakeError):
    """A column changed in a way that Iceberg cannot follow; nothing was written."""


class DeleteGuardError(LakeError):
    """The run would remove a greater part of the mirror than `max_delete_fraction` allows."""


class AuditError(LakeError):
    """An audit with `on_fail: error` failed; the staged snapshot stays in the table, unpublished."""

    def __init__(self, message: str, *, hint: str = "", staged_snapshot_id: int) -> None:
        """Take the snapshot that failed, so that people can look at it."""
        super().__init__(message, hint=hint)
        self.staged_snapshot_id = staged_snapshot_id


class NeedsSparkError(LakeError):
    """Only Spark can do this exactly; the in-process engine refuses it before it writes anything."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Take what cannot be done; the hint is how to let Spark do it."""
        usual = "Set engine: auto, and install Spark: pip install 'iceberg-datamart[local]'."
        super().__init__(message, hint=hint or usual)


class MetadataMissingError(LakeError):
    """The catalog's pointer names a metadata file that does not exist, so the table cannot be loaded."""


class CatalogUnreachableError(LakeError):
    """The catalog does not answer; what was asked for is tried again from fresh state."""

    exit_code = 75
    retryable = True


class CommitUnknownError(LakeError):
    """Whether a commit happened is not known; the next run finds out before it writes anything."""

    exit_code = 75
    retryable = True


class CommitConflictError(LakeError):
    """Another writer committed to the table first; a retry starts from fresh state (R12)."""

    exit_code = 75
    retryable = True
