"""Sets without labels, for generative and self-supervised models: every image is in one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.folder import FolderScan, FolderSource
from lowres.formats.indexing import Labelled, indexed
from lowres.formats.names import split_of
from lowres.formats.source import Entry, Index, Source
from lowres.formats.tree import ClassFolder, Folder
from lowres.reading import Reading

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
        scan = FolderScan(self.path, self.leave_out)
        return unlabelled_tree(scan.tree(), scan, self.path)


def unlabelled_tree(tree: Folder, scan: FolderScan, where: Path) -> Index:
    """Make an index of all images of a tree; folders named like splits are splits.

    Raises:
        SourceError: there are no images.
    """
    if not tree.count:
        raise SourceError(f"{where} holds no images")
    named = {folder: split_of(folder.name) for folder in tree.filled}
    notes = []
    if tree.images or "train" not in named.values():  # a folder called test is no split
        named = {tree: "train"}
    elif others := [folder.name for folder, split in named.items() if split is None]:
        notes.append(f"left out the folders beside the splits: {', '.join(others)}")
    found: dict[str, list[Labelled]] = {}
    for folder, split in named.items():
        if split:
            rows = scan.labelled([ClassFolder(UNLABELLED, folder, folder)])
            found.setdefault(split, []).extend(rows)
    return unlabelled_index(found, "images at any depth", [*notes, *scan.notes()])


def unlabelled_index(
    found: Mapping[str, Sequence[Labelled]], layout: str, notes: Sequence[str]
) -> Index:
    """Make an index of images whose labels are not used."""
    splits = {
        split: [Entry(row.key, 0, row.location, row.offset, row.length) for row in rows]
        for split, rows in found.items()
    }
    return Index((UNLABELLED,), indexed(splits), layout, (*notes, NOTE), labelled=False)


def index_of(source: Source, reading: Reading) -> Index:
    """List a source and note what it left out.

    All images of a labelled set get one class if `reading` asks for that.
    """
    index = source.index()
    if source.left_out:
        index = replace(index, notes=(*index.notes, *source.left_out))
    if not (reading.unlabelled and index.labelled):
        return index
    splits = {
        split: tuple(replace(entry, label=0) for entry in entries)
        for split, entries in index.splits.items()
    }
    notes = (*index.notes, NOTE)
    return replace(index, classes=(UNLABELLED,), splits=splits, notes=notes, labelled=False)
