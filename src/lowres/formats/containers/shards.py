"""Which tar files make up a sharded set: a folder of them, one, or a pattern with braces."""

from __future__ import annotations

import itertools
import math
import os
import re
from pathlib import Path

from lowres.errors import SourceError
from lowres.formats.indexing import missing_number
from lowres.formats.names import by_split, is_system, split_of

DATA = "data"
"""A folder of shards that is no split, as on the Hub."""

MOST_SHARDS = 100_000
"""The most that a pattern may stand for: a typo such as `{0..99999999}` must not fill memory."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})", re.ASCII)


def is_pattern(path: Path) -> bool:
    """Return whether a path that does not exist stands for several, by braces."""
    return _BRACES.search(str(path)) is not None and not path.exists()


def is_sharded(folder: Path) -> bool:
    """Return whether a folder holds shards, at its top or in folders named like splits."""
    with os.scandir(folder) as children:
        is_folder = {c.name: c.is_dir() for c in children if not is_system(c.name)}
    folders = [name for name, found in is_folder.items() if found]
    splits = (folder / name for name in folders if _may_hold_shards(name))
    if any(any(map(_is_shard, split.iterdir())) for split in splits):
        return True
    # A tar beside class folders is a copy of them.
    return not folders and any(_is_shard(folder / name) for name in is_folder)


def shards_of(path: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the shards of each split that a folder, a tar or a pattern stands for, sorted.

    The split comes from the name of the folder, else from that of the file (`names.by_split`).
    Shards whose names mean no split beside shards of splits are returned apart, to leave out.
    """
    if is_pattern(path):
        paths = [Path(text) for text in expanded(str(path))]
        for shard in paths:
            if not shard.is_file():
                raise SourceError(
                    f"{shard}, a shard of {path}, is missing; fetch it, or name fewer shards"
                )
        return by_split([(s, [s.parent.name, s.stem]) for s in sorted(paths)], path)
    if not path.is_dir():
        return {split_of(path.stem) or "train": [path]}, []
    files: list[tuple[Path, list[str]]] = []
    below = [c for c in path.iterdir() if c.is_dir() and not is_system(c.name)]
    for folder in (path, *sorted(below)):
        found = [child for child in sorted(folder.iterdir()) if _is_shard(child)]
        if (missing := missing_number(shard.stem for shard in found)) is not None:
            raise SourceError(
                f"{folder / missing}.tar is missing among the shards; fetch it, or choose shards "
                "by a pattern with braces"
            )
        files += [(shard, _names(shard, path)) for shard in found]
    return by_split(files, path)


def expanded(pattern: str) -> list[str]:
    """Write out the braces of a pattern: `{000..012}` for a range, `{a,b}` for a choice.

    Numbers are padded with zeros as in the range.
    """
    parts = _BRACES.split(pattern)  # plain, inside, plain, inside, ..., plain
    if any(brace in part for part in parts[::2] for brace in "{}"):
        raise SourceError(f"{pattern} has nested braces, or a brace that is not closed")
    choices = [_choices(part, pattern) for part in parts[1::2]]
    count = math.prod(map(len, choices))
    if count > MOST_SHARDS:
        raise SourceError(f"{pattern} must stand for at most {MOST_SHARDS:,} shards, was {count:,}")
    plain = parts[::2]
    return [
        "".join(itertools.chain(*zip(plain, (*chosen, ""), strict=True)))
        for chosen in itertools.product(*choices)
    ]


def _choices(inside: str, pattern: str) -> list[str]:
    matched = _RANGE.fullmatch(inside)
    if matched and int(matched[1]) <= int(matched[2]):
        first, last = matched.groups()
        numbers = range(int(first), int(last) + 1)
        if len(numbers) > MOST_SHARDS:
            raise SourceError(f"{pattern} must stand for at most {MOST_SHARDS:,} shards")
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
        return [str(number).zfill(width) for number in numbers]
    if "," in inside:
        return inside.split(",")
    raise SourceError(
        f"{pattern}: {{{inside}}} must be a range such as {{000..012}}, the smaller number first, "
        "or a choice such as {a,b}"
    )


def _is_shard(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() == ".tar" and not hidden and path.is_file()


def _names(shard: Path, root: Path) -> list[str]:
    """Return the names that may mean the split of a shard: that of its folder, and its own."""
    folder = shard.parent
    if folder == root or folder.name.lower() == DATA:
        return [shard.stem]
    return [folder.name, shard.stem] if split_of(folder.name) else [folder.name]


def _may_hold_shards(name: str) -> bool:
    return name.lower() == DATA or split_of(name) is not None
