"""What is being built, and whether a folder may take it.

An unfinished store holds `build.json`, the plan, and `build.entries`, a line for each entry of the
source; a build goes on only with the same of both.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Self

from lowres.errors import StoreBusyError, StoreError
from lowres.formats.source import Index
from lowres.store.manifest import FILE_NAME
from lowres.work.files import claim, held, write_json

PLAN = "build.json"
ENTRIES = "build.entries"
OWN_FILES = (PLAN, f"{PLAN}.*", ENTRIES, f"{ENTRIES}.*", "build*.journal", "build*.journal.*",
             "build*.lock")  # fmt: skip
SHOWN = 3


class Shard(NamedTuple):
    """A part of a build that one process does: the `number`-th `of` so many, from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as 2/8.

        Raises:
            StoreError: it is no such text.
        """
        number, slash, of = text.partition("/")
        digits = (number + of).isascii() and number.isdigit() and of.isdigit()
        if not slash or not digits or not 1 <= int(number) <= int(of):
            raise StoreError(f"--shard must be NUMBER/OF, from 1/8 to 8/8 for eight; was {text!r}")
        return cls(int(number), int(of))

    @property
    def name(self) -> str:
        """How its files in the store are called."""
        return f"build-{self.number}-of-{self.of}"


def begin(path: Path, plan: Mapping[str, Any], index: Index) -> None:
    """Begin a build in an empty folder, or make sure that the same one was begun there.

    Several processes may begin the same build at once.

    Raises:
        StoreError: the folder holds something else, or a build of something else.
    """
    if not (path / PLAN).exists():
        _refuse_foreign(path)
        one = uuid.uuid4().hex[:12]
        temporary = path / f"{ENTRIES}.{one}"
        with temporary.open("wb") as file:
            file.writelines(index.lines())
        temporary.replace(path / ENTRIES)
        temporary = path / f"{PLAN}.{one}"
        write_json(temporary, plan)
        claim(temporary, path / PLAN)
    digest = "index_sha256"
    try:
        begun = json.loads((path / PLAN).read_bytes())
        same_entries = begun["source"][digest] == plan["source"][digest]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path / PLAN} is damaged; remove {path} and build again") from error
    refuse_changes(
        path, begun, plan, "was begun", None if same_entries else _changed_entries(path, index)
    )


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds other files than those of a build or store.

    Raises:
        StoreError: it does.
    """
    # Listed once, and the plan looked for afterwards: other processes may begin meanwhile.
    names = [file.name for file in path.iterdir()]
    others = [n for n in names if not any(fnmatchcase(n, pattern) for pattern in OWN_FILES)]
    if others and not (path / PLAN).exists() and not (path / FILE_NAME).exists():
        raise StoreError(
            f"{path} is neither empty nor an unfinished store: choose a new folder, lowres does "
            "not write among other files"
        )


def refuse_changes(
    path: Path,
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    verb: str,
    entries: str | None = None,
) -> None:
    """Refuse to go on where a plan differs, other than by notes.

    Args:
        path: the store.
        then: the plan it was built by.
        now: the plan it would be built by.
        verb: what happened then.
        entries: which images are others, if that is known.

    Raises:
        StoreError: names every value that changed.
    """
    changes = [
        f"{part} {name} was {then.get(part, {}).get(name)!r} and is now {value!r}"
        for part, values in now.items()
        for name, value in values.items()
        if name != "notes" and then.get(part, {}).get(name) != value
        if not (entries and name == "index_sha256")
    ]
    if changes or entries:
        changes += [entries] if entries else []
        raise StoreError(
            f"store {path} {verb} differently: {'; '.join(changes)}. Use the same again, or "
            "another folder"
        )


def _changed_entries(path: Path, index: Index) -> str | None:
    """Say which images came, went, or changed their class since the build was begun."""
    try:
        with (path / ENTRIES).open("rb") as file:
            before = set(file)  # not splitlines: a key may hold a carriage return
    except FileNotFoundError:
        return None
    after = set(index.lines())
    parts = []
    for lines, what in ((after - before, "new"), (before - after, "gone")):
        names = sorted(
            "{}/{} (class {})".format(*line.decode().rstrip("\n").split("\0")) for line in lines
        )
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        parts += [f"{', '.join(names[:SHOWN])}{more}: {what}"] if names else []
    return f"its images are others: {'; '.join(parts)}" if parts else None


@contextmanager
def locked(path: Path, shard: Shard | None = None) -> Iterator[None]:
    """Make a store's folder and hold it, so that no other process builds in it meanwhile.

    Shards hold it together, and each of them its own part. It is removed again where nothing was
    written.

    Raises:
        StoreBusyError: another process holds it.
        StoreError: it is a file, or is to be a shard's and holds other files.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(f"store {path} must be a folder, and is a file")
    path.mkdir(parents=True, exist_ok=True)
    with held(path, shared=shard is not None) as free:
        if not free:
            raise StoreBusyError(f"{path} is being built by another process")
        try:
            if shard is None:
                yield
            else:
                with _locked_shard(path, shard):
                    yield
        finally:
            with suppress(OSError):  # not empty, most of the time
                path.rmdir()


@contextmanager
def _locked_shard(path: Path, shard: Shard) -> Iterator[None]:
    _refuse_foreign(path)
    lock = path / f"{shard.name}.lock"
    lock.touch()
    with held(lock) as free:
        if not free:
            raise StoreBusyError(
                f"shard {shard.number}/{shard.of} of {path} is being built by another process"
            )
        yield


def clean(path: Path) -> None:
    """Remove a finished build's own files."""
    for pattern in (*OWN_FILES, "*/*.part", "*/*.tmp"):
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)
