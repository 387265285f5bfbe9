"""Sets without labels, for generative and self-supervised models: every image is in one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lowres.errors import SourceError
from lowres.formats.folder import FolderScan, FolderSource
from lowres.formats.indexing import Labelled, indexed, is_hidden
from lowres.formats.source import Entry, Index

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
        found: dict[str, list[Labelled]] = {}
        top = [child for child in sorted(self.path.iterdir()) if not is_hidden(child.name)]
        splits = scan.named_splits()
        others = [child for child in top if child not in splits.values() and child.is_dir()]
        if not splits or others:  # a folder called test beside others is no split
            splits = {"train": self.path}
        for split, folder in splits.items():
            location = str(folder)
            rows = (Labelled(key, UNLABELLED, location) for key in scan.images(folder, ""))
            found[split] = list(rows)
        scan.note_others()
        if not any(found.values()):
            raise SourceError(f"{self.path} holds no images")
        return unlabelled_index(found, "images at any depth", scan.notes)

    def describe(self, entry: Entry) -> str:
        return f"{entry.location}/{entry.key}"


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
