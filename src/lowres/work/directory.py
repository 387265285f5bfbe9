"""A directory of resumable work: planned once, locked while a process works, finished by a result.

A run, a search and an unfinished store are such directories; a study and the images of the demo
use a part of it::

    DIRECTORY/PLAN       JSON, written first: what is to be done
    DIRECTORY/...        the work so far
    DIRECTORY/RESULT     JSON, written last: its presence means finished

How to use it::

    work = WorkDirectory(path, "search", "search.json", "result.json", StudyError)
    work.begin(plan)                      # writes the plan, or refuses other files, another plan
    with work.lock("being searched"):     # one process at a time; others get `busy_error`
        if not work.finished:
            work.finish(do(work.read()))  # `read` validates the plan by `check`
    return work.result(SearchResult)      # and validates it by this `TypedDict`

`begin` needs no lock: of several processes that begin at once, one writes the plan and the others
compare theirs with it. A plan that may grow is written anew under the lock. Work that
several processes share is locked by `lock(..., part="build-1-of-8")`: parts lock the directory
together, and each its own name. Differences between two plans of any kind: `differences`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lowres.errors import LowresError
from lowres.work.files import held, make_folder, write_json, write_json_once
from lowres.work.records import Record, decoded, read_record

DAMAGE = (OSError, LowresError, LookupError, TypeError, ValueError, AttributeError)
"""What reading and checking a damaged JSON file may raise."""

GLANCE_S = 0.3
"""How long `lock` tries at least, because `busy` locks a directory for a moment, too."""

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """A directory of resumable work.

    Attributes:
        path: the directory; it may be missing.
        kind: what messages call it, such as `study`.
        plan_name: name of the file with the plan.
        result_name: name of the file that is written last; empty if there is none.
        error: raised if the directory does not fit.
        busy_error: raised if another process holds the lock.
        own: patterns of further files that the work may write before its plan.
        ignored: names in the plan that may differ, at any depth, such as `path`.
        locks_plan: lock the plan and not the directory, for a plan that never changes: file systems
            of clusters such as Lustre share locks of files between machines, not of directories.
        check: validates a plan that was read and returns it, completed by defaults; any of
            `DAMAGE` that it raises means that the plan is damaged.
        advice: what a user does who wants another plan.
    """

    path: Path
    kind: str
    plan_name: str
    result_name: str
    error: type[LowresError]
    busy_error: type[LowresError] | None = None
    own: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()
    locks_plan: bool = False
    check: Callable[[Record], Record] = dict
    advice: str = "choose another directory with --out"

    @property
    def planned(self) -> bool:
        """Whether the directory holds a plan."""
        return (self.path / self.plan_name).exists()

    @property
    def finished(self) -> bool:
        """Whether the directory holds a result."""
        return bool(self.result_name) and (self.path / self.result_name).exists()

    @property
    def busy(self) -> bool:
        """Whether a process holds the lock; without locks never so, and a warning says it."""
        if not self._locked.exists():
            return False
        with held(self._locked) as free:
            return not free

    @property
    def _locked(self) -> Path:
        return self.path / self.plan_name if self.locks_plan else self.path

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan, or refuse a directory with other files or another plan."""
        if not self.planned:
            self.refuse_foreign()
            make_folder(self.path)
            write_json_once(self.path / self.plan_name, plan)
        self.refuse(differences(self.read(), plan, self.ignored))

    def read(self) -> Record:
        """Read the plan; raise `error` if there is none or it is damaged."""
        file = self.path / self.plan_name
        try:
            return self.check(decoded(file.read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            raise self.error(
                f"{self.path} is not a {self.kind}: it has no {self.plan_name}"
            ) from None
        except DAMAGE as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise self.error(f"{file} is damaged: {reason}") from error

    def refuse(self, changes: Sequence[str], verb: str = "was planned") -> None:
        """Raise `error`, which names all changes, if there are any; see `differences`."""
        if changes:
            raise self.error(
                f"{self.kind} {self.path} {verb} differently: {'; '.join(changes)}. Use the same "
                f"values again, or {self.advice}"
            )

    def refuse_foreign(self) -> None:
        """Raise `error` for a file, or a directory with other files than those of this work."""
        if self.path.exists() and not self.path.is_dir():
            raise self.error(f"{self.kind} {self.path} must be a directory, but it is a file")
        # Listed before looking for the plan: another process may begin meanwhile.
        names = [child.name for child in self.path.iterdir()] if self.path.exists() else []
        own = (self.plan_name, f"{self.plan_name}.*", *self.own)
        others = [n for n in names if not any(fnmatchcase(n, pattern) for pattern in own)]
        if others and not (self.planned or self.finished):
            raise self.error(f"{self.path} is neither empty nor a {self.kind}: {self.advice}")

    @contextmanager
    def lock(self, doing: str, *, part: str = "", wait_s: float = GLANCE_S) -> Iterator[None]:
        """Lock the directory, making it if it is missing, until the block or the process ends.

        A directory in which nothing was written is removed again.

        Args:
            doing: what the work is, for the message: `being trained`.
            part: name of a part of the work; other parts may be locked at the same time.
            wait_s: seconds to wait for another process.

        Raises:
            LowresError: `busy_error`: another process holds the lock; `error`: the path is a file,
                or is locked for a part and holds other files.
        """
        if self.path.exists() and not self.path.is_dir():
            self.refuse_foreign()
        with self._held(self._locked, f"{self.kind} {self.path}", doing, wait_s, shared=bool(part)):
            try:
                if part:
                    self.refuse_foreign()
                    file, name = self.path / f"{part}.lock", f"{part} of {self.path}"
                    with self._held(file, name, doing, wait_s):
                        yield
                else:
                    yield
            finally:
                with suppress(OSError):  # not empty, most of the time
                    self.path.rmdir()

    @contextmanager
    def _held(
        self, path: Path, name: str, doing: str, wait_s: float, *, shared: bool = False
    ) -> Iterator[None]:
        deadline = time.monotonic() + wait_s
        while True:
            # Made in each round: the other process may have removed the empty directory.
            make_folder(self.path)
            if path.suffix == ".lock":
                path.touch()
            with held(path, shared=shared) as free:
                if free and path.exists():
                    yield
                    return
            if time.monotonic() >= deadline:
                waited = f"; lowres waited {wait_s:.0f} s" if wait_s >= 1 else ""
                raise (self.busy_error or self.error)(
                    f"{name} is {doing} by another process{waited}"
                )
            time.sleep(POLL_S)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which declares the work finished."""
        write_json(self.path / self.result_name, result)

    def result(self, kind: type[Any]) -> Record:
        """Read the result; raise `error` if it is missing or does not fit the `TypedDict`."""
        return read_record(self.path / self.result_name, kind, self.error)


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], ignored: Collection[str] = ()
) -> list[str]:
    """Return `NAME was X and is now Y` for each value that differs between two plans.

    Nested names are joined by a space: `recipe lr was 0.1 and is now 0.2`. Names in `ignored` may
    differ, at any depth.
    """
    now = json.loads(json.dumps(now))
    found = []
    for name in dict.fromkeys([*then, *now]):
        before, after = then.get(name), now.get(name)
        if name in ignored or before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += [f"{name} {change}" for change in differences(before, after, ignored)]
        else:
            found.append(f"{name} was {shown(before)} and is now {shown(after)}")
    return found


def shown(value: object) -> str:
    """Return a JSON value as messages show it: lists by commas, without quotes."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "empty"
    return "not set" if value is None else str(value)
