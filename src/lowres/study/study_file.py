"""The file study.json: what a study is, and how it grows by axes, values and runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypeAlias, TypedDict

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.study.axes import Axis, Together, refuse_mixture
from lowres.study.values import PARTS, check_field
from lowres.variant import Variant
from lowres.work.directory import WorkDirectory, differences
from lowres.work.records import FileName, StorePlace, typed

Axes: TypeAlias = Sequence[Axis | Together]
Points: TypeAlias = Sequence[Mapping[str, Any]]


class StudyFile(TypedDict):
    """What `study.json` holds."""

    store: StorePlace
    base: dict[str, Any]
    axes: dict[str, list[Any]]
    together: NotRequired[list[list[str]]]
    points: NotRequired[list[dict[str, Any]]]
    runs: list[FileName]


def study_directory(path: Path) -> WorkDirectory:
    """Return the directory of a study, which may not exist yet."""
    return WorkDirectory(
        path,
        kind="study",
        plan_name="study.json",
        result_name="",
        error=StudyError,
        check=_checked,
        advice="choose another directory with --out, or sweep a field with --axis FIELD=...",
    )


def planned_axes(path: Path) -> dict[str, list[Any]]:
    """Return the values of each swept field of a study, without opening its runs.

    Raises:
        StudyError: there is no study, or it is damaged.
    """
    axes: dict[str, list[Any]] = study_directory(path).read()["axes"]
    return axes


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """Validate `study.json`, and complete its recipe from before a field was added."""
    plan = typed(record, StudyFile)
    for name in {*plan["axes"], *(name for point in plan.get("points", ()) for name in point)}:
        check_field(name)
    base = Recipe.from_record(plan["base"]).to_record()
    return {"together": [], "points": [], **plan, "base": base}


def grown_record(
    work: WorkDirectory,
    store: Store,
    base: Recipe,
    axes: Axes,
    points: Points,
    names: Iterable[str],
) -> dict[str, Any]:
    """Return the record of a study that is new, or that grows by more axes, values and runs."""
    work.refuse_foreign()
    swept = {axis.name: list(axis.values) for one in axes for axis in one.axes}
    together = [[axis.name for axis in one.axes] for one in axes if isinstance(one, Together)]
    where = {"path": str(store.path.resolve()), "digest": store.manifest.digest}
    earlier: dict[str, Any] = {"axes": {}, "together": [], "points": [], "runs": []}
    if work.planned:
        earlier = work.read()
        if earlier["store"]["digest"] != where["digest"]:
            work.refuse(differences({"store": earlier["store"]}, {"store": where}))
        free = {*swept, *earlier["axes"]}
        try:
            refuse_mixture(free)
        except StudyError as error:
            listed = ", ".join(earlier["axes"]) or "none"
            raise StudyError(
                f"study {work.path} was planned with axes {listed}: {error}"
            ) from error
        free |= set(PARTS) if "variant" in free else set()
        then, now = _by_part(earlier["base"]), _by_part(base.to_record())
        work.refuse(differences(then, now, ignored=free))
    return {
        "store": where,
        "base": base.to_record(),
        "axes": {
            name: _joined(earlier["axes"].get(name, []), swept.get(name, []))
            for name in {**earlier["axes"], **swept}
        },
        "together": _joined(earlier["together"], together),
        "points": _joined(earlier["points"], points),
        "runs": _joined(earlier["runs"], names),
    }


def _by_part(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's record with the parts of its variant in place of the variant."""
    variant = Variant.parse(record["variant"])
    parts = {part: getattr(variant, part) for part in PARTS}
    return {**parts, **{name: value for name, value in record.items() if name != "variant"}}


def _joined(then: Iterable[Any], now: Iterable[Any]) -> list[Any]:
    """Join two lists of JSON values without repeats; 1 and True are two values."""
    texts = dict.fromkeys(json.dumps(value) for value in (*then, *now))
    return [json.loads(text) for text in texts]
