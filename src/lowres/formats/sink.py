"""A sink: a place that lowres writes the images of one variant to, in some format."""

from __future__ import annotations

import io
import os
import shutil
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StoreBusyError, StoreError
from lowres.variant import Variant
from lowres.work.files import held, make_folder, sync, sync_tree

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Date of every member of a written ZIP, the first that one can hold: equal sets, equal bytes."""


def png(image: NDArray[np.uint8], compress_level: int = -1) -> bytes:
    """Encode an image, (S, S, 3) uint8 RGB, as PNG, by a level of zlib, 0 to 9; -1 is its own."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """What a sink will receive.

    Attributes:
        name: of the set, such as `animals`, for file names and cards.
        variant: the variant that is written.
        classes: class names in the order of the labels.
        splits: number of images in each split that is written.
        content: the content hash of the variant (docs/format.md).
        labelled: the classes mean something; else there is one, which is not written.
    """

    name: str
    variant: Variant
    classes: tuple[str, ...]
    splits: dict[str, int]
    content: str
    labelled: bool = True


class Sink(ABC):
    """A destination for the images of one variant.

    It receives every image once, split by split. Then `finish` brings `partial` to the disk and
    renames it to `path`, so an export that was stopped or lost power leaves nothing that looks
    whole. An export does not resume: the next one begins with an empty `partial`.

    Attributes:
        shuffled: readers of the format shuffle little or not at all, so images come in a fixed
            random order; else in row order.
        one_split: the format has no splits.
        is_file: it writes one file, else a folder.
        takes_unlabelled: it writes sets without labels, too.
        partial: the file or folder to write into, made empty and locked.
        closing: closes open files if the sink is abandoned, and unlocks `partial`.

    Raises:
        StoreError: `path` exists and is not empty, or the format cannot hold the outline.
        StoreBusyError: another process writes it.
    """

    shuffled: ClassVar[bool] = False
    one_split: ClassVar[bool] = False
    is_file: ClassVar[bool] = False
    takes_unlabelled: ClassVar[bool] = False

    def __init__(self, path: Path, outline: Outline) -> None:
        path = path.absolute()
        taken = os.path.lexists(path) and (
            self.is_file or path.is_symlink() or not path.is_dir() or any(path.iterdir())
        )
        if taken:
            raise StoreError(f"{path} exists and is not empty: choose a new path")
        self.path = path
        self.outline = outline
        self.partial = path.with_name(f"{path.name}.lowres-partial")
        make_folder(self.partial.parent)
        busy = StoreBusyError(f"another process writes {path}: wait for it, or choose a new path")
        if self.partial.exists():
            with held(self.partial) as free:
                if not free:
                    raise busy
                self._remove()  # of an export that was stopped
        if self.is_file:
            self.partial.touch(exist_ok=False)
        else:
            self.partial.mkdir()
        self.closing = ExitStack()
        if not self.closing.enter_context(held(self.partial)):
            raise busy

    @abstractmethod
    def write(self, split: str, key: str, label: int, image: NDArray[np.uint8]) -> None:
        """Write one image, (S, S, 3) uint8 RGB, without loss."""

    @abstractmethod
    def complete(self) -> None:
        """Write what comes last, and close every file."""

    def finish(self) -> None:
        """Complete the set, bring it to the disk, and rename it to `path`."""
        self.complete()
        sync_tree(self.partial)
        self.partial.rename(self.path)
        with suppress(PermissionError):  # the right to list the folder above is not needed
            sync(self.path.parent)
        self.closing.close()

    def abandon(self) -> None:
        """Remove what was written; errors of files that are closed with it do not matter."""
        self._remove()
        with suppress(OSError, ValueError):
            self.closing.close()

    def _remove(self) -> None:
        if self.partial.is_dir():
            shutil.rmtree(self.partial)
        else:
            self.partial.unlink()
