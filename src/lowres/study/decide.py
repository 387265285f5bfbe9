"""A study that grows until its verdict is sure: the runs that decide soonest, two at a time.

A round adds one run of the proxy's choice and one of its strongest rival on the target, with the
same seed, because runs of one seed can be compared. All follows from the runs that are finished, so
an interrupted decision resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypedDict

import numpy as np

from lowres.call import split_at_commas
from lowres.errors import StudyError
from lowres.progress import Track, silent
from lowres.recipe import Recipe
from lowres.study.axes import Axis, changed
from lowres.study.judgement import Judgement
from lowres.study.judging import judge_table
from lowres.study.results_of_runs import decisions, of_runs
from lowres.study.results_table import Value
from lowres.study.study import Study, cost as cost_of
from lowres.text import command
from lowres.training.run import RunSummary
from lowres.work.executor import Executor
from lowres.work.files import write_json
from lowres.work.records import Amount, read_record

LOOKS_FILE = "decide.json"
AT_MOST = 24
"""Further runs that a decision may take, unless the user sets another number."""


class RecordedLook(TypedDict):
    """A look in `decide.json`, beside the record of its judgement."""

    proxy: str
    target: str
    bearable_points: Amount
    bearable_given: bool


class Looks(TypedDict):
    """What `decide.json` holds."""

    looks: list[RecordedLook]


@dataclass(frozen=True, slots=True)
class Look:
    """The verdict after some runs.

    Attributes:
        judgement: the verdict; None if the target still lacks configurations.
        target_runs: finished runs on the target.
        added: runs that this call has added so far.
        next_runs: recipes of the next round; empty where the decision ends.
        lacking: configurations of the proxy that the target has no run of.
        seconds: of training in the next round, by the runs that exist; None where none is like it.
    """

    judgement: Judgement | None
    target_runs: int
    added: int
    next_runs: tuple[Recipe, ...]
    lacking: int
    seconds: float | None


def default_sides(study: Study) -> tuple[str, str]:
    """Return the smallest size as proxy and the largest as target.

    Raises:
        StudyError: the study has one size.
    """
    sizes = sorted({run.recipe.size for run in study.runs})
    if len(sizes) < 2:
        raise StudyError(
            f"{study.path} has runs of one size, {sizes[0]} px: name two sides, for example "
            "--proxy epochs=10 --target epochs=40"
        )
    return f"size={sizes[0]}", f"size={sizes[-1]}"


def decide(
    study: Study,
    proxy: str,
    target: str,
    executor: Executor,
    *,
    bearable: float | None = None,
    at_most: int = AT_MOST,
    at_a_time: int = 2,
    arguments: Sequence[str] = (),
    workers: int | None = None,
    track: Track = silent,
) -> Iterator[Look]:
    """Train until the verdict is sure or `at_most` runs were added, and yield each look.

    With fewer than 5 configurations no answer can be sure, and nothing is trained.

    Stop the iterator after its first look to train and write nothing. `decide.json` keeps the looks
    of all calls; a default limit stays what it was in the first look at these sides.

    Args:
        study: a study whose runs on the proxy are finished.
        proxy: the cheap side, such as `size=16`.
        target: the side that matters, such as `size=64`.
        executor: what trains runs.
        bearable: regret that does not matter, a share. Default: that of the first look (`judge`).
        at_most: runs to add.
        at_a_time: runs of a round, an even number.
        arguments: further arguments of each `lowres train`.
        workers: processes that share the runs, as in `Study.finish`.
        track: shows progress.

    Raises:
        StudyError: a side does not exist, or runs failed.
    """
    added = 0
    looks = _earlier_looks(study)
    by_user = bearable is not None
    for one in looks if not by_user else ():
        if (one["proxy"], one["target"], one["bearable_given"]) == (proxy, target, False):
            bearable = float(one["bearable_points"]) / 100
            break
    while True:
        look = _look(study, proxy, target, bearable, at_a_time, added, at_most - added)
        if look.judgement is not None:
            bearable = look.judgement.verdict.bearable  # the limit of the first look stays
        yield look
        if look.judgement is not None:
            known = {"target_runs": look.target_runs, "added": added, "bearable_given": by_user}
            looks.append({**known, **look.judgement.to_record()})
            write_json(study.path / LOOKS_FILE, {"looks": looks})
        if not look.next_runs:
            return
        study = study.grown(look.next_runs)
        summary = study.finish(executor, arguments, workers=workers, track=track)
        if summary.failed:
            name, reason = next(iter(summary.failed.items()))
            raise StudyError(
                f"{len(summary.failed)} runs of {study.path} failed, {name} first: {reason}; fix "
                f"the cause and run {command('decide', study.path)} again"
            )
        added += len(look.next_runs)


def _earlier_looks(study: Study) -> list[dict[str, Any]]:
    path = study.path / LOOKS_FILE
    if not path.exists():
        return []
    looks: list[dict[str, Any]] = read_record(path, Looks, StudyError)["looks"]
    return looks


def _look(
    study: Study,
    proxy: str,
    target: str,
    bearable: float | None,
    at_a_time: int,
    added: int,
    left: int,
) -> Look:
    runs = [one for one in study.summaries() if one.finished]
    changes = {
        axis.name: axis.values[0] for axis in (Axis.parse(part) for part in split_at_commas(target))
    }
    of_target = [one for one in runs if changed(one.recipe, changes) == one.recipe]
    lacking = _lacking(runs, of_target, proxy, changes)
    if lacking and left > 0:
        chosen = tuple(lacking[:left])
        return Look(None, len(of_target), added, chosen, len(lacking), _seconds(runs, chosen))
    judgement = judge_table(of_runs(study.path), proxy, target, bearable=bearable)
    chosen = ()
    if not judgement.verdict.sure and not judgement.verdict.few and left > 0:
        chosen = _round(of_target, judgement, min(at_a_time, left))
    return Look(judgement, len(of_target), added, chosen, len(lacking), _seconds(runs, chosen))


def _lacking(
    runs: Sequence[RunSummary],
    of_target: Sequence[RunSummary],
    proxy: str,
    changes: dict[str, Any],
) -> list[Recipe]:
    """List the configurations of the proxy that the target has no run of, one seed each."""
    side = {
        axis.name: axis.values[0] for axis in (Axis.parse(part) for part in split_at_commas(proxy))
    }
    of_proxy = [one.recipe for one in runs if changed(one.recipe, side) == one.recipe]
    if not of_proxy:
        raise StudyError(f"the study has no finished run of {proxy}: run lowres study first")
    have = {changed(one.recipe, {"seed": 0}) for one in of_target}
    wanted = {changed(recipe, {**changes, "seed": 0}): recipe for recipe in reversed(of_proxy)}
    return [changed(recipe, changes) for key, recipe in reversed(wanted.items()) if key not in have]


def _round(
    of_target: Sequence[RunSummary], judgement: Judgement, at_a_time: int
) -> tuple[Recipe, ...]:
    """Return runs of the choice and of its rival with seeds that each lacks."""
    seeds: dict[Recipe, set[int]] = {}
    for one in of_target:
        seeds.setdefault(changed(one.recipe, {"seed": 0}), set()).add(one.recipe.seed)
    rivals = [
        recipe
        for wanted in (judgement.choice, judgement.rival)
        for recipe in seeds
        if wanted is not None and _is(recipe, wanted)
    ]
    chosen: list[Recipe] = []
    for _ in range(max(1, at_a_time // 2)):
        for recipe in rivals:
            seed = next(seed for seed in count() if seed not in seeds[recipe])
            seeds[recipe].add(seed)
            chosen.append(changed(recipe, {"seed": seed}))
    return tuple(chosen[: max(at_a_time, 1)])


def _is(recipe: Recipe, wanted: dict[str, Value]) -> bool:
    found = decisions(recipe)
    # Columns that say which store a run used are no decisions of its recipe.
    return all(found.get(name, value) == value for name, value in wanted.items())


def _seconds(runs: Sequence[RunSummary], recipes: Sequence[Recipe]) -> float | None:
    """Estimate the time of runs: of runs of the same size, else by cost from all that finished."""
    known = [one for one in runs if one.spent_s > 0]
    if not known:
        return None
    total = 0.0
    for recipe in recipes:
        alike = [one for one in known if one.recipe.size == recipe.size] or known
        each = [one.spent_s * cost_of(recipe) / cost_of(one.recipe) for one in alike]
        total += float(np.mean(each))
    return total
