"""An archive of the classes that a run loads: with it Java starts in two thirds of the time, in any test.

As a program it makes the archive of this environment: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ARCHIVE = Path(sys.prefix) / "classes.jsa"
# Java takes options from here, too. A JVM with another class path goes on without the archive, and without
# a word.
_VARIABLE = "JDK_JAVA_OPTIONS"
_QUIET = "-Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off"


def share() -> None:
    """Let every JVM that this process or its children start use the archive, where there is one."""
    if ARCHIVE.is_file() and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = f"-XX:SharedArchiveFile={ARCHIVE} {_QUIET}"


def make() -> None:
    """Run a job twice that changes mirrors and a mart, and keep the classes that its JVM needed."""
    from iceberg_datamart.core.engines import SPARK  # noqa: PLC0415  (what all tests import stays light)
    from support.servers import parts  # noqa: PLC0415
    from support.shops.shop import open_shop  # noqa: PLC0415
    from support.shops.shop_rules import rename  # noqa: PLC0415
    from support.worlds import warm_process  # noqa: PLC0415
    from support.worlds.laptop import PROGRAM, Databases, Laptop  # noqa: PLC0415

    drafted = ARCHIVE.with_suffix(".draft")
    with tempfile.TemporaryDirectory() as folder, parts.postgres_server(Path(folder), {}) as server:
        databases = Databases(server)
        name = databases.new()
        laptop = Laptop(Path(folder) / "laptop", server.url(name), engine=SPARK)
        laptop.directory.mkdir()
        with (
            databases.connected(name) as connection,
            warm_process.running(laptop.directory, {}) as process,
        ):
            open_shop(laptop, connection)
            properties = laptop.settings["spark"]["properties"]
            properties["spark.driver.extraJavaOptions"] += f" -XX:ArchiveClassesAtExit={drafted} {_QUIET}"
            laptop.save()
            for change in ("first", "renamed"):
                rename(connection, change, "customer_id = 3")
                ended = process.run(PROGRAM, "run", "--config", str(laptop.file))
                assert ended.exit_code == 0, ended.stderr
    # The JVM wrote it when it ended, and the process ended after that. On a machine with much else to do it
    # may have been ended before: without the archive tests are slower, and no less true.
    if drafted.is_file():
        drafted.rename(ARCHIVE)
    else:
        sys.stderr.write(f"{ARCHIVE} was not written in time: each JVM loads its classes by itself\n")


if __name__ == "__main__":
    make()
