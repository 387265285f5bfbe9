"""Sets without labels, for generative and self-supervised models: every image is in one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.folder import FolderScan, FolderSource
from lowres.formats.indexing import Labelled, indexed
from lowres.formats.names import split_of
from lowres.formats.source import Entry, Index
from lowres.formats.tree import ClassFolder, Folder

UNLABELLED = "unlabelled"
"""Name of the one class."""

NOTE = "read without labels: all images are in one class"


class UnlabelledSource(FolderSource):
    """All images in a folder, at any depth; folders that are named like splits are splits.

    Keys are paths below the split.
    """

    kind = "unlabelled folder"
    label_order = "none"

    def index(self) -> Index:
        scan = FolderScan(self.path)
        return unlabelled_tree(scan.tree(), scan, self.path)


def unlabelled_tree(tree: Folder, scan: FolderScan, where: Path) -> Index:
    """Make an index of all images of a tree; folders named like splits are splits.

    Raises:
        SourceError: there are no images.
    """
    if not tree.count:
        raise SourceError(f"{where} holds no images")
    named = {below.name: split_of(below.name) for below in tree.filled}
    splits = {split: [below] for below in tree.filled if (split := named[below.name])}
    if tree.images or None in named.values() or len(splits) < len(named):
        splits = {"train": [tree]}  # a folder called test beside others is no split
    found = {
        split: scan.labelled([ClassFolder(UNLABELLED, base, base) for base in bases])
        for split, bases in splits.items()
    }
    return unlabelled_index(found, "images at any depth", scan.notes())


def unlabelled_index(
    found: Mapping[str, Sequence[Labelled]], layout: str, notes: Sequence[str]
) -> Index:
    """Make an index of images whose labels are not used."""
    splits = {
        split: [Entry(row.key, 0, row.location, row.offset, row.length) for row in rows]
        for split, rows in found.items()
    }
    return Index((UNLABELLED,), indexed(splits), layout, (*notes, NOTE), labelled=False)


def without_labels(index: Index) -> Index:
    """Put all images of a labelled set into one class."""
    splits = {
        split: tuple(replace(entry, label=0) for entry in entries)
        for split, entries in index.splits.items()
    }
    notes = (*index.notes, NOTE)
    return replace(index, classes=(UNLABELLED,), splits=splits, notes=notes, labelled=False)
