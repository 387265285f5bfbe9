"""What the names of files and folders mean: splits, classes, images, and what systems leave.

Every format reads names by these functions, so one name means the same in all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from lowres.errors import SourceError

T = TypeVar("T")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "ilsvrc2012_img_train": "train",
    "ilsvrc2012_img_val": "val",
    "ilsvrc2012_img_test": "test",
}
"""Names that mean a split, in any case, and the split; as Hugging Face's `datasets` reads them."""

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
        ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".heic", ".heif",
        ".jp2", ".j2k", ".jpx", ".jxl", ".tga", ".dcm",
    }
)  # fmt: skip
"""Suffixes of files that are taken for images, in any case; the bytes decide how to decode. The
bytes of every other file decide whether it is an image. An image that lowres cannot decode, such
as JPEG 2000, stops the build: it must not disappear as a file that is no image."""

SYSTEM_NAMES = frozenset(
    {
        "__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot",
        "@synoresource", "@sharesnap", "#recycle", "#snapshot", "~snapshot", "lost+found",
        "$recycle.bin", "recycler", "recycled", "recycle.bin", "$extend", "found.000",
        "system volume information", "network trash folder", "temporary items",
        "thevolumesettingsfolder", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    }
)  # fmt: skip
"""Names in lower case that Synology, QNAP, NetApp, Windows, macOS, Linux and Python put beside
images. Names that begin with a dot are ignored, too."""

MAGIC_BYTES = 16
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]|P[1-6fF][\s#]"
    rb"|\0{3}\x0c(?:jP {2}|JXL )\r\n\x87\n|\xff\x4f\xff\x51"
    rb"|BM.{4}\0{4}|....ftyp(?:avif|avis|hei[cmsx]|hev[cmsx]|mif1|msf1)",
    re.DOTALL,
)
"""First bytes of JPEG, PNG, GIF, WebP, TIFF, PPM and its kin, BMP, AVIF and HEIC files, and of
JPEG 2000 and JPEG XL files, which lowres cannot decode."""

_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
"""Letters only: digits and signs separate words, as for `datasets`; so does a capital letter."""

_FILLED = re.compile(
    r"(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|dev|eval)"
    r"(?:sets?|data|images?|imgs?|split|folder|dir)"
)
"""Two words in one, such as `trainset`."""

UNREAD_FORMS = {
    ".zip": "ZIP", ".mat": "MATLAB", ".h5": "HDF5", ".hdf5": "HDF5", ".npz": "NumPy arrays",
    ".npy": "NumPy arrays", ".tfrecord": "TFRecord", ".tfrecords": "TFRecord", ".mdb": "LMDB",
    ".beton": "FFCV", ".rec": "RecordIO", ".bin": "binary records", ".pkl": "a pickle",
    ".pickle": "a pickle", ".pt": "a file of PyTorch", ".pth": "a file of PyTorch",
}  # fmt: skip
"""Suffixes of the files in which people keep sets, and which lowres does not read in a folder."""

_TF_RECORD = re.compile(r"tfrecord|^[^.]*-\d{5}-of-\d{5}$", re.IGNORECASE)

_PARTS = frozenset(
    {
        "part", "parts", "shard", "chunk", "batch", "fold", "disc", "disk", "vol", "volume",
        "img", "image", "imgs", "images",
    }
)  # fmt: skip
"""Words in the names of folders that divide a set by size or by chance, not by class."""

_NUMBER = re.compile(r"\d+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_COUNT = re.compile(r"-of-\d+(?:-[0-9a-f]+)?")
_WNID = re.compile(r"(?<![a-z0-9])n\d{8}(?!\d)", re.ASCII)


@lru_cache(1 << 14)  # each format asks for each folder
def split_word(name: str) -> str | None:
    """Return the word of a name that means a split, such as `train` in `seg_train2017`.

    It is a key of `SPLIT_NAMES`, in lower case. None: no word means a split, or words mean two.
    """
    if (lower := name.lower()) in SPLIT_NAMES:
        return lower
    found = set()
    for word in _WORD.findall(name):
        word = word.lower()
        if matched := _FILLED.fullmatch(word):
            word = matched[1]
        if word in SPLIT_NAMES:
            found.add(word)
    return min(found) if len({SPLIT_NAMES[word] for word in found}) == 1 else None


def split_of(name: str) -> str | None:
    """Return the split that the name of a file or folder means, such as `set-train-00000.tar`."""
    word = split_word(name)
    return SPLIT_NAMES[word] if word else None


def series(name: str) -> str:
    """Return what numbered names of one series share: the name without numbers and hashes."""
    return _NUMBER.sub("", _COUNT.sub("", _UUID.sub("", name)))


def are_parts(names: Sequence[str]) -> bool:
    """Return whether names are those of numbered parts, such as `images_001` and `images_002`."""
    kinds = {series(name) for name in names}
    if len(names) < 2 or len(kinds) > 1 or not all(map(_NUMBER.search, names)):
        return False
    return any(word.lower() in _PARTS for word in _WORD.findall(kinds.pop()))


def by_split(
    files: Sequence[tuple[T, Sequence[str]]], where: Path
) -> tuple[dict[str, list[T]], list[T]]:
    """Sort files into splits by their names; a name that means no split never joins train.

    Args:
        files: each file with its names, the most particular first: its own, its folder's, ...
        where: the source, for messages.

    Returns:
        The files of each split, and those that are left out because other files name splits.
        If no file names a split and all names are of one series, all are train.

    Raises:
        SourceError: no file names a split and the names are of several series; or two different
            names, such as val and dev, mean one split.
    """
    splits: dict[str, list[T]] = {}
    words: dict[str, tuple[str, str]] = {}
    others = []
    for file, names in files:
        word, name = next(((w, n) for n in names if (w := split_word(n))), (None, names[0]))
        if word is None:
            others.append((file, names[0]))
            continue
        split = SPLIT_NAMES[word]
        before, first = words.setdefault(split, (word, name))
        if before[:3] != word[:3]:  # val and validation are one word, val and dev are two
            raise SourceError(
                f"{where} has two names for the split {split}: {first} and {name}; rename or "
                "move one"
            )
        splits.setdefault(split, []).append(file)
    if splits:
        return splits, [file for file, _ in others]
    several = {series(name): name for _, name in reversed(others)}
    if len(several) > 1:
        first, second = sorted(several.values())[:2]
        raise SourceError(
            f"{where} has files of {len(several)} names, and none names a split: {first}, "
            f"{second}{', ...' * (len(several) > 2)}; rename them (train-0, val-0), or build from "
            "a folder with the files of train alone"
        )
    return {"train": [file for file, _ in others]} if others else {}, []


def taken_for_train(paths: Sequence[Path], root: Path) -> list[str]:
    """Return a note if files of train, such as `holdout-0.tar`, have names that mean no split.

    Names without words, such as `part-00000` and `data`, need none.

    Args:
        paths: the files.
        root: the source; folders between it and the files may name the split.
    """
    for path in paths:
        is_below = path.is_relative_to(root)  # else root is a pattern
        within = path.relative_to(root) if is_below else Path(path.parent.name, path.name)
        words = {word.lower() for word in _WORD.findall(_COUNT.sub("", path.stem))}
        named = any(map(split_word, (path.stem, *within.parent.parts)))
        if words - _PARTS - {"data"} and not named:
            return [f"{path.name} means no split by its name: its images are train"]
    return []


def unread_form(names: Iterable[str]) -> str | None:
    """Return what to do with files of sets that lowres cannot read, such as HDF5; None if none."""
    for name in names:
        suffix = f".{name.rpartition('.')[2].lower()}"
        form = "TFRecord" if _TF_RECORD.search(name) else UNREAD_FORMS.get(suffix)
        if form == "ZIP":
            return f"unpack the archives such as {name}, or build from one of them"
        if form:
            return (
                f"{name} is {form}, which lowres cannot read: write the images as "
                "split/class/name.png, or fetch the set as Parquet from the Hugging Face Hub"
            )
    return None


def is_system(name: str) -> bool:
    """Return whether a file or folder was put there by a system, or is hidden by one."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def is_image_name(name: str) -> bool:
    """Return whether a file name or path ends in one of `IMAGE_SUFFIXES`."""
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def is_image_data(begins: bytes) -> bool:
    """Return whether a file begins like an image; the first `MAGIC_BYTES` bytes are enough."""
    return _MAGIC.match(begins) is not None


def wnid_in(name: str) -> str | None:
    """Return the one WNID in a file name such as `n01440764_18_n01440764.JPEG`, or None."""
    found = set(_WNID.findall(name))
    return found.pop() if len(found) == 1 else None


def is_wnid(name: str) -> bool:
    """Return whether a name is a WNID: n and eight digits."""
    return _WNID.fullmatch(name) is not None


def class_order(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels: sorted; as numbers if all are numbers."""
    listed = sorted(names)
    if all(name.isascii() and name.isdigit() for name in listed):
        listed.sort(key=int)
    return listed


def same_class(names_in: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    """Return the class of each name, in composed Unicode form (NFC), over all splits.

    Args:
        names_in: the names in each split.

    Raises:
        SourceError: two names look alike: they differ by white space or by characters without
            width; or by case, and no split has both; or all are numbers, and two are equal, such
            as 1 and 01.
    """
    composed = {
        name: name if name.isascii() else unicodedata.normalize("NFC", name)
        for name in set().union(*names_in.values())
    }
    are_numbers = all(name.isascii() and name.isdigit() for name in composed)
    alike: dict[str, set[str]] = defaultdict(set)
    for name in set(composed.values()):
        visible = "".join(c for c in name if c.isascii() or unicodedata.category(c) != "Cf")
        text = " ".join(visible.split()).casefold()
        alike[str(int(text)) if are_numbers else text].add(name)
    for group in alike.values():
        for name, other in ((a, b) for a in sorted(group) for b in sorted(group) if a < b):
            both = any(
                {name, other} <= {composed[each] for each in names} for names in names_in.values()
            )
            if both and name.casefold() == other.casefold():
                continue  # classes such as A and a
            places = [
                f"{each!a} in {split}"
                for each in (name, other)
                for split in [next(s for s in names_in if _has(names_in[s], each, composed))]
            ]
            raise SourceError(
                f"two class names look alike: {' and '.join(places)}; give one class one name"
            )
    return composed


def _has(names: AbstractSet[str], name: str, composed: Mapping[str, str]) -> bool:
    return any(composed[each] == name for each in names)
