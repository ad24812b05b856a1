"""The shop after its first, full run, loaded once; each test gets it back as that run left it."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING

from support.shops.shop import open_shop
from support.worlds.laptop import Laptop, usual_engine

if TYPE_CHECKING:
    from pathlib import Path

    from support.worlds.laptop import Databases


class LoadedShop:
    """A folder and a database that keep their place and name: mirrors know their source by them."""

    def __init__(self, databases: Databases, directory: Path) -> None:
        self._databases = databases
        self._folder, self._kept_folder = directory / "shop", directory / "as_loaded"
        self.database = databases.new()
        self._folder.mkdir()
        self._laptop = Laptop(self._folder, databases.server.url(self.database))
        with databases.connected(self.database) as connection:
            oracle = open_shop(self._laptop, connection)
            self._laptop.run()
            oracle.follow(full=True)
        self._kept_database = databases.new(template=self.database)
        shutil.copytree(self._folder, self._kept_folder)

    def restored(self, engine: str | None = None) -> Laptop:
        """Put folder and database back, whatever a test has made of them; return the laptop.

        Its next runs are on `engine`, or the usual one, whichever loaded it.
        """
        engine = engine or usual_engine()
        self._databases.replace(self.database, self._kept_database)
        shutil.rmtree(self._folder)
        shutil.copytree(self._kept_folder, self._folder)
        settings = copy.deepcopy(self._laptop.settings) | {"engine": engine}
        return Laptop(self._folder, self._laptop.url, settings, engine).save()
