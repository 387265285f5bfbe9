"""A study's record, `study.json`: the store, the recipe around the axes, the axes, the runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowres.errors import LowresError, StudyError
from lowres.recipe import FIELDS, Recipe
from lowres.store.store import Store
from lowres.study.axes import Axis, Together, refuse_mixture
from lowres.study.values import PARTS
from lowres.variant import Variant
from lowres.work.files import held

FILE_NAME = "study.json"
WAIT_S = 60.0
"""How long another process may take to plan the same study."""

POLL_S = 0.05


@contextmanager
def planning(path: Path) -> Iterator[None]:
    """Hold a study's directory while it is planned, waiting for others that plan it.

    Raises:
        StudyError: another process does not come to an end with it.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        with held(path) as free:
            if free:
                yield
                return
        if time.monotonic() > deadline:
            raise StudyError(
                f"study {path} is being planned by another process for {WAIT_S:.0f} s: is it "
                "stopped? End it, or choose another directory with --out"
            )
        time.sleep(POLL_S)


def read_record(path: Path) -> dict[str, Any] | None:
    """Read the record of a study, or give None where there is none.

    Raises:
        StudyError: it is damaged.
    """
    try:
        record = json.loads((path / FILE_NAME).read_text())
        axes, runs, base = record["axes"], record["runs"], record["base"]
        if not (isinstance(axes, dict) and isinstance(runs, list) and isinstance(base, dict)):
            raise TypeError("axes, runs or base of another kind")
        return dict(record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path / FILE_NAME} is damaged: {error!r}") from error


def grown_record(
    path: Path,
    store: Store,
    base: Recipe,
    axes: Sequence[Axis | Together],
    points: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Give the record of a study that is new, or that grows by more values, axes and runs.

    Args:
        path: its directory, which may be missing; else it is to be held by `planning`.
        store: what it trains on.
        base: the recipe around the axes.
        axes: what is combined.
        points: runs besides.
        names: of all runs that are asked for.

    Raises:
        StudyError: the directory holds something else, or a study that does not fit.
    """
    earlier = _begun(path)
    swept = {axis.name: list(axis.values) for one in axes for axis in one.axes}
    together = [[axis.name for axis in one.axes] for one in axes if isinstance(one, Together)]
    if earlier is not None:
        _refuse_changes(path, earlier, base, swept, store.manifest.digest)
    else:
        earlier = {"axes": {}, "runs": []}
    return {
        "store": {"path": str(store.path.resolve()), "digest": store.manifest.digest},
        "base": base.to_record(),
        "axes": _joined_axes(earlier["axes"], swept),
        "together": _joined(earlier.get("together", []), together),
        "points": _joined(earlier.get("points", []), [_as_json(point) for point in points]),
        "runs": _joined(earlier["runs"], names),
    }


def refuse_file(path: Path) -> None:
    """Refuse a path that cannot be a study's directory.

    Raises:
        StudyError: it is a file.
    """
    if path.exists() and not path.is_dir():
        raise StudyError(f"study {path} must be a directory, and is a file")


def _begun(path: Path) -> dict[str, Any] | None:
    """Read the study that a directory holds; refuse one that holds something else."""
    refuse_file(path)
    record = read_record(path)
    if record is None and path.exists() and any(path.iterdir()):
        raise StudyError(
            f"{path} is neither empty nor a study: choose another directory with --out"
        )
    return record


def _refuse_changes(
    path: Path,
    earlier: dict[str, Any],
    base: Recipe,
    swept: dict[str, list[Any]],
    digest: str,
) -> None:
    """Refuse to mix runs that differ in more than the axes."""
    if earlier["store"]["digest"] != digest:
        raise StudyError(
            f"study {path} is of another store ({earlier['store']['path']}): choose another "
            "directory with --out"
        )
    try:
        refuse_mixture([*swept, *earlier["axes"]])
    except StudyError as error:
        raise StudyError(
            f"study {path} was planned with {_listed(earlier['axes'])}: {error}"
        ) from (error)
    then, now = _by_part(path, earlier["base"]), _by_part(path, base.to_record())
    free = {*swept, *earlier["axes"]}
    free |= set(PARTS) if "variant" in free else set()
    for name in (*PARTS, *(field for field in FIELDS if field != "variant")):
        if name not in free and then.get(name) != now[name]:
            raise StudyError(
                f"study {path} was planned with {name} {then.get(name)}, and this asks for "
                f"{now[name]}: choose another directory with --out, or sweep it with "
                f"--axis {name}=..."
            )


def _by_part(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a recipe's record with the parts of its variant in place of the variant."""
    try:
        variant = Variant.parse(record["variant"])
    except (LowresError, LookupError, AttributeError) as error:
        raise StudyError(f"{path / FILE_NAME} is damaged: {error!r}") from error
    return {**record, **{part: getattr(variant, part) for part in PARTS}}


def _listed(axes: Mapping[str, Any]) -> str:
    return f"axes {', '.join(axes)}" if axes else "no axes"


def _joined_axes(then: dict[str, list[Any]], now: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Join the axes of two plans, in the order in which values were first asked for."""
    joined = dict(then)
    for name, values in now.items():
        joined[name] = _joined(then.get(name, []), _as_json(values))
    return joined


def _joined(then: Sequence[Any], now: Sequence[Any]) -> list[Any]:
    """Join two lists without repeats, which would be kept out by `in` as 1 is by True."""
    joined = {json.dumps(value): value for value in (*then, *now)}
    return list(joined.values())


def _as_json(value: Any) -> Any:  # noqa: ANN401  a list or a table
    """Give a value as it is read back: with lists for tuples."""
    return json.loads(json.dumps(value))
