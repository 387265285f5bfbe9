"""Finds the files that a table names: as they stand there, in a folder beside, without suffix."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePosixPath

from lowres.errors import SourceError
from lowres.formats.names import is_image_name, is_system, split_of


class FileFinder:
    """Finds the files of a table, in its own folder or in one folder beside it.

    Attributes:
        table: the table.
        beside: the folder in which the first image was found, relative; empty for the table's own,
            None before the first.
        names: returns the names in a folder below the table's.
        stems: returns its image names by their stems.
        location: returns such a folder, as entries have it.
    """

    def __init__(self, table: Path) -> None:
        self.table = table
        self.beside: str | None = None
        self.names = cache(self._listed)
        self.stems = cache(self._listed_stems)
        self.location = cache(lambda below: str(table.parent / below))

    def forget(self) -> None:
        """Drop the names that were listed: 2 million take 300 MB."""
        self.names.cache_clear()
        self.stems.cache_clear()

    def _listed(self, folder: str) -> frozenset[str]:
        """List the names in a folder below the table's; none if there is no such folder."""
        try:
            return frozenset(os.listdir(self.table.parent / folder))  # noqa: PTH208  a million
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def _listed_stems(self, folder: str) -> dict[str, str]:
        """Return the image names in a folder by their stems."""
        stems: dict[str, str] = {}
        for name in sorted(filter(is_image_name, self.names(folder))):
            stem = name.rpartition(".")[0]
            if stem in stems:
                raise SourceError(
                    f"{self.table} names images without suffix, and {self.table.parent / folder} "
                    f"has {stems[stem]} and {name}: write the suffixes into the table"
                )
            stems[stem] = name
        return stems

    def find(self, path: str, split: str) -> str | None:
        """Return the path with the folder beside and the suffix that it needs; None if missing."""
        if self.beside is None:
            found = self._search(path, split)
            if found is not None:
                self.beside = found
        return self._below(self.beside or "", path)

    def _below(self, beside: str, path: str) -> str | None:
        folder, _, name = f"{beside}/{path}".lstrip("/").rpartition("/")
        if name not in self.names(folder):
            found = self.stems(folder).get(name) if self.names(folder) else None
            if found is None:
                return None
            name = found
        return f"{folder}/{name}" if folder else name

    def _search(self, path: str, split: str) -> str | None:
        """Find the folder that holds the first image."""
        if self._below("", path):
            return ""
        folders = [
            name
            for name in sorted(self.names(""))
            if not is_system(name) and (self.table.parent / name).is_dir()
        ]
        found = [name for name in folders if self._below(name, path)]
        named = [name for name in found if split_of(name) == split]
        found = named or found
        if len(found) > 1:
            raise SourceError(
                f"{self.table} names {path}, which exists in {' and in '.join(found)}: write "
                f"{PurePosixPath(found[0]) / path} into the table"
            )
        return found[0] if found else None
