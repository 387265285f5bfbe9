"""What came out of a search: the best configuration, what it cost, and how it was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lowres.store.store import Store
from lowres.study.costs import training_macs
from lowres.study.estimate import in_words
from lowres.study.search.plan import Allotment, SearchPlan
from lowres.study.search.space import Plain, changes
from lowres.training.run import RunState


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A configuration at one rung.

    Attributes:
        rung: from 0, the smallest size.
        size: of the images, in pixels.
        run: name of its directory below `runs`.
        status: how the run ended.
        error: top-1 error as a share; 1 where it diverged, None where it failed.
        train_s: seconds of training.
        train_macs: multiply-adds of training.
        reason: why it failed.
    """

    rung: int
    size: int
    run: str
    status: RunState
    error: float | None
    train_s: float
    train_macs: int
    reason: str = ""


@dataclass(slots=True)
class Configuration:
    """A configuration of a search.

    Attributes:
        number: from 0, in the order in which they were chosen; that of Optuna's trial.
        labels: what was chosen, in Optuna's terms.
        evaluations: at each rung that it reached.
    """

    number: int
    labels: dict[str, Plain]
    evaluations: list[Evaluation] = field(default_factory=list)


def summed_up(
    plan: SearchPlan, allotment: Allotment, store: Store, configurations: Sequence[Configuration]
) -> dict[str, Any]:
    """Give the result of a search as JSON values.

    Costs are those of training alone, without evaluation and starts; failed runs count nothing.
    `same_size` is what all the same configurations would have cost at the largest size, its seconds
    by the multiply-adds per second of the runs there.
    """
    rungs = [_rung(plan, configurations, rung) for rung in range(len(plan.sizes))]
    spent = sum(rung["train_macs"] for rung in rungs)
    last = len(plan.sizes) - 1
    same = sum(training_macs(plan.recipe(one.labels, last), store) for one in configurations)
    top = rungs[-1]
    return {
        "best": _best(plan, configurations),
        "cost": {
            "runs": sum(len(one.evaluations) for one in configurations),
            "train_s": sum(rung["train_s"] for rung in rungs),
            "train_macs": spent,
            "full_size_runs": spent / allotment.run_macs[-1],
        },
        "same_size": {
            "runs": len(configurations),
            "train_s": same * top["train_s"] / top["train_macs"] if top["train_macs"] else None,
            "train_macs": same,
            "times_as_costly": same / spent if spent else None,
        },
        "rungs": rungs,
        "trace": [_trace(plan, one) for one in configurations],
    }


def _best(plan: SearchPlan, configurations: Sequence[Configuration]) -> dict[str, Any] | None:
    """Give the configuration with the least error at the largest size, if one was trained there."""
    last = len(plan.sizes) - 1
    arrived = [
        (one.evaluations[last].error, one.number)
        for one in configurations
        if len(one.evaluations) > last and one.evaluations[last].status == "trained"
    ]
    if not arrived:
        return None
    error, number = min(arrived)
    best = configurations[number]
    return {
        "configuration": number,
        "changes": _as_json(changes(plan.dimensions, best.labels)),
        "top1_error": error,
        "run": best.evaluations[last].run,
        "recipe": plan.recipe(best.labels, last).to_record(),
    }


def _rung(plan: SearchPlan, configurations: Sequence[Configuration], rung: int) -> dict[str, Any]:
    there = [one.evaluations[rung] for one in configurations if len(one.evaluations) > rung]
    errors = [one.error for one in there if one.status == "trained" and one.error is not None]
    return {
        "size": plan.sizes[rung],
        "epochs": plan.rung_epochs[rung],
        "configurations": len(there),
        "diverged": sum(one.status == "diverged" for one in there),
        "failed": sum(one.status == "failed" for one in there),
        "best_error": min(errors, default=None),
        "train_s": sum(one.train_s for one in there),
        "train_macs": sum(one.train_macs for one in there),
    }


def _trace(plan: SearchPlan, one: Configuration) -> dict[str, Any]:
    return {
        "configuration": one.number,
        "changes": _as_json(changes(plan.dimensions, one.labels)),
        "rungs": [
            {**asdict(evaluation), "promoted": len(one.evaluations) > evaluation.rung + 1}
            for evaluation in one.evaluations
        ],
    }


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Tell a result in words: the trace, the rungs, the best and the cost."""
    yield from _aligned(list(_rows(result)))
    yield ""
    for rung in result["rungs"]:
        yield _rung_line(rung)
    cost, same, best = result["cost"], result["same_size"], result["best"]
    size = result["rungs"][-1]["size"]
    if best is None:
        yield f"no configuration was trained to its end at {size} px"
    else:
        yield (
            f"best at {size} px: top-1 error {_percent(best['top1_error'])} with "
            f"{_words(best['changes'])} (runs/{best['run']})"
        )
    yield (
        f"cost: {in_words(cost['train_s'])} of training, {cost['train_macs']:.3g} multiply-adds, "
        f"{cost['full_size_runs']:.2f} runs at {size} px"
    )
    if len(result["rungs"]) > 1 and same["train_s"] is not None:
        yield (
            f"{_count(same['runs'], 'configuration')} at {size} px: about "
            f"{in_words(same['train_s'])}, {same['train_macs']:.3g} multiply-adds, "
            f"{same['times_as_costly']:.1f} times as much"
        )
    for one in result["trace"]:
        for rung in one["rungs"]:
            if rung["status"] == "failed":
                yield f"configuration {one['configuration']} failed: {rung['reason']}"


def _rung_line(rung: Mapping[str, Any]) -> str:
    others = [f"{rung[what]} {what}" for what in ("diverged", "failed") if rung[what]]
    least = "" if rung["best_error"] is None else f", least error {_percent(rung['best_error'])}"
    ended = f" ({', '.join(others)})" if others else ""
    return (
        f"{rung['size']} px, {_count(rung['epochs'], 'epoch')}: "
        f"{_count(rung['configurations'], 'configuration')}{ended}{least}, "
        f"{in_words(rung['train_s'])} of training"
    )


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """Give heads and a row for each configuration, first what went furthest, then by error."""
    names, sizes = list(result["trace"][0]["changes"]), [rung["size"] for rung in result["rungs"]]
    yield ["number", *names, *(f"{size} px" for size in sizes)]
    ordered = sorted(
        result["trace"],
        key=lambda one: (-len(one["rungs"]), _or_worst(one["rungs"][-1]), one["configuration"]),
    )
    for one in ordered:
        ended = [_end(rung) for rung in one["rungs"]]
        yield [
            str(one["configuration"]),
            *(_shown(one["changes"][name]) for name in names),
            *(ended + [""] * (len(sizes) - len(ended))),
        ]


def _or_worst(rung: Mapping[str, Any]) -> float:
    return 2.0 if rung["error"] is None else float(rung["error"])


def _end(rung: Mapping[str, Any]) -> str:
    return _percent(rung["error"]) if rung["status"] == "trained" else str(rung["status"])


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.rjust, row, widths)).rstrip()
