"""The result of a search: the best configuration, what it cost, and how it was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from lowres.store.store import Store
from lowres.study.search.plan import Allotment, SearchPlan, macs_on_store
from lowres.study.search.space import Plain, changes
from lowres.text import count, duration, percent, points, table, value as value_text
from lowres.training.run import Run, RunState
from lowres.work.records import Amount, Count, Share


class FoundBest(TypedDict):
    """The best configuration in `result.json`."""

    configuration: Count
    changes: dict[str, Any]
    top1_error: Share
    test_top1_error: NotRequired[Share]
    run: str
    recipe: dict[str, Any]


class FoundRung(TypedDict):
    """A size in `result.json`."""

    size: Count
    epochs: Count
    configurations: Count
    diverged: Count
    failed: Count
    best_error: Share | None
    train_s: Amount


class FoundCost(TypedDict):
    """Cost in `result.json`."""

    runs: Count
    train_s: Amount
    train_macs: Amount
    full_size_runs: Amount


class FoundSame(TypedDict):
    """Cost of all configurations at the largest size in `result.json`."""

    runs: Count
    train_s: Amount | None
    train_macs: Amount
    times_as_costly: Amount | None


class FoundEvaluation(TypedDict):
    """A configuration at a size in `result.json`."""

    status: str
    error: Share | None
    reason: str


class FoundConfiguration(TypedDict):
    """A line of the trace in `result.json`."""

    configuration: Count
    changes: dict[str, Any]
    rungs: Annotated[list[FoundEvaluation], Meta(min_length=1)]


class FoundConfirmation(TypedDict):
    """The errors with new seeds in `result.json`."""

    runs: list[dict[str, Any]]
    diverged: Count
    mean_error: Share | None
    std_error: Amount | None
    mean_test_error: NotRequired[Share]
    std_test_error: NotRequired[Amount]
    cost: FoundCost


class Found(TypedDict):
    """What `result.json` of a search holds."""

    best: FoundBest | None
    cost: FoundCost
    same_size: FoundSame
    rungs: Annotated[list[FoundRung], Meta(min_length=1)]
    trace: Annotated[list[FoundConfiguration], Meta(min_length=1)]
    confirmation: NotRequired[FoundConfirmation]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A configuration at one rung.

    Attributes:
        rung: from 0, the smallest size.
        size: of the images, in pixels.
        run: name of its directory below `runs`.
        status: how the run ended.
        error: top-1 error as a share; 1 if it diverged, None if it failed.
        train_s: seconds of training.
        train_macs: multiply-adds of training.
        reason: why it failed.
        test_error: top-1 error on test, if the store has it beside the split for errors.
    """

    rung: int
    size: int
    run: str
    status: RunState
    error: float | None
    train_s: float
    train_macs: int
    reason: str = ""
    test_error: float | None = None


@dataclass(slots=True)
class Configuration:
    """A configuration of a search.

    Attributes:
        number: from 0, in the order in which configurations were chosen; the number of its trial.
        labels: its values, as Optuna stores them.
        evaluations: one for each rung that it reached.
    """

    number: int
    labels: dict[str, Plain]
    evaluations: list[Evaluation] = field(default_factory=list)


def summed_up(
    plan: SearchPlan, allotment: Allotment, store: Store, configurations: Sequence[Configuration]
) -> dict[str, Any]:
    """Return the result of a search as JSON values.

    Costs are of training alone, without evaluation and starts; failed runs cost nothing.
    `same_size` is what all configurations would have cost at the largest size; its seconds follow
    from the multiply-adds per second of the runs there.
    """
    rungs = [_rung(plan, configurations, rung) for rung in range(len(plan.sizes))]
    spent = sum(rung["train_macs"] for rung in rungs)
    last = len(plan.sizes) - 1
    same = sum(macs_on_store(plan.recipe(one.labels, last), store) for one in configurations)
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
        "trace": [
            {
                "configuration": one.number,
                "changes": _changes(plan, one),
                "rungs": [
                    {**_record(evaluation), "promoted": len(one.evaluations) > evaluation.rung + 1}
                    for evaluation in one.evaluations
                ],
            }
            for one in configurations
        ],
    }


def confirmation(chains: Mapping[int, Sequence[Run]], allotment: Allotment) -> dict[str, Any]:
    """Return the errors and the cost of the best configuration with new seeds as JSON values.

    Args:
        chains: the finished runs of each seed, the largest size last.
        allotment: what a run costs on average, for the cost in runs at the largest size.
    """
    results = {seed: [run.result() for run in chain] for seed, chain in chains.items()}
    runs = [
        {
            "seed": seed,
            "run": chains[seed][-1].path.name,
            "status": ends[-1]["status"],
            "top1_error": None if ends[-1]["status"] == "diverged" else ends[-1]["top1_error"],
            **_test_error(ends[-1].get("test_top1_error")),
        }
        for seed, ends in results.items()
    ]
    errors = [run["top1_error"] for run in runs if run["top1_error"] is not None]
    on_test = [run["test_top1_error"] for run in runs if "test_top1_error" in run]
    macs = sum(one.get("train_macs", 0) for ends in results.values() for one in ends)
    return {
        "runs": runs,
        "diverged": len(runs) - len(errors),
        "mean_error": fmean(errors) if errors else None,
        "std_error": stdev(errors) if len(errors) > 1 else None,
        **({"mean_test_error": fmean(on_test)} if on_test else {}),
        **({"std_test_error": stdev(on_test)} if len(on_test) > 1 else {}),
        "cost": {
            "runs": sum(map(len, results.values())),
            "train_s": sum(one["train_s"] for ends in results.values() for one in ends),
            "train_macs": macs,
            "full_size_runs": macs / allotment.run_macs[-1],
        },
    }


def _record(evaluation: Evaluation) -> dict[str, Any]:
    # The trace has no test errors, so that nothing is chosen by them.
    return {name: one for name, one in asdict(evaluation).items() if name != "test_error"}


def _test_error(error: float | None) -> dict[str, float]:
    return {} if error is None else {"test_top1_error": error}


def _best(plan: SearchPlan, configurations: Sequence[Configuration]) -> dict[str, Any] | None:
    """Return the configuration with the least error at the largest size; None if none trained."""
    last = len(plan.sizes) - 1
    trained = [
        (one.evaluations[last].error, one.number)
        for one in configurations
        if len(one.evaluations) > last and one.evaluations[last].status == "trained"
    ]
    if not trained:
        return None
    error, number = min(trained)
    best = configurations[number]
    return {
        "configuration": number,
        "changes": _changes(plan, best),
        "top1_error": error,
        **_test_error(best.evaluations[last].test_error),
        "run": best.evaluations[last].run,
        "recipe": plan.recipe(best.labels, last).to_record(),
    }


def _rung(plan: SearchPlan, configurations: Sequence[Configuration], rung: int) -> dict[str, Any]:
    reached = [one.evaluations[rung] for one in configurations if len(one.evaluations) > rung]
    errors = [one.error for one in reached if one.status == "trained" and one.error is not None]
    return {
        "size": plan.sizes[rung],
        "epochs": plan.rung_epochs[rung],
        "configurations": len(reached),
        "diverged": sum(one.status == "diverged" for one in reached),
        "failed": sum(one.status == "failed" for one in reached),
        "best_error": min(errors, default=None),
        "train_s": sum(one.train_s for one in reached),
        "train_macs": sum(one.train_macs for one in reached),
    }


def _changes(plan: SearchPlan, one: Configuration) -> dict[str, Any]:
    values = changes(plan.dimensions, one.labels)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return a result as lines: the trace, the rungs, the best configuration and the cost."""
    yield from table(_trace_rows(result))
    yield ""
    for rung in result["rungs"]:
        ends = [f"{rung[end]} {end}" for end in ("diverged", "failed") if rung[end]]
        ended = f" ({', '.join(ends)})" if ends else ""
        error = rung["best_error"]
        least = "" if error is None else f", least error {percent(error)}"
        yield (
            f"{rung['size']} px, {count(rung['epochs'], 'epoch')}: "
            f"{count(rung['configurations'], 'configuration')}{ended}{least}, "
            f"{duration(rung['train_s'])} of training"
        )
    best, size = result["best"], result["rungs"][-1]["size"]
    if best is None:
        yield f"no configuration was trained to its end at {size} px"
    else:
        values = ", ".join(f"{name} {value_text(v, 4)}" for name, v in best["changes"].items())
        final = best.get("test_top1_error")
        test = "" if final is None else f", {percent(final)} on test,"
        yield (
            f"best at {size} px: top-1 error {percent(best['top1_error'])}{test} with {values} "
            f"(runs/{best['run']})"
        )
    if "confirmation" in result:
        yield _confirmed_line(result["confirmation"], best["top1_error"])
    yield from _cost_lines(result)
    for one in result["trace"]:
        for rung in one["rungs"]:
            if rung["status"] == "failed":
                yield f"configuration {one['configuration']} failed: {rung['reason']}"


def _confirmed_line(confirmed: Mapping[str, Any], searched: float) -> str:
    """Return the error with new seeds beside that of the search."""
    mean, std = confirmed["mean_error"], confirmed["std_error"]
    total, diverged = len(confirmed["runs"]), confirmed["diverged"]
    lost = f"; {diverged} of {count(total, 'run')} diverged" if diverged else ""
    opening = f"best with {count(total, 'new seed')}"
    if mean is None:
        return f"{opening}: no error{lost}"
    runs = total - diverged
    gap, side = abs(mean - searched), "more" if mean >= searched else "less"
    test = ""
    if "mean_test_error" in confirmed:
        on_test = _with_deviation(
            confirmed["mean_test_error"], confirmed.get("std_test_error"), runs
        )
        test = f"; on test, by which nothing was chosen, {on_test}"
    return (
        f"{opening}: top-1 error {_with_deviation(mean, std, runs)}, {points(gap)} points {side} "
        f"than in the search{test}{lost}"
    )


def _with_deviation(mean: float, std: float | None, runs: int) -> str:
    if std is None:
        return percent(mean)
    return (
        f"{points(mean)} \N{PLUS-MINUS SIGN} {points(std)} % (mean \N{PLUS-MINUS SIGN} standard "
        f"deviation of {runs})"
    )


def _cost_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return the cost: a line in multiply-adds and a line in time, each with ratios of its own."""
    cost, same, size = result["cost"], result["same_size"], result["rungs"][-1]["size"]
    work = f"{cost['train_macs']:.3g}, as many as {cost['full_size_runs']:.2f} runs at {size} px"
    time = duration(cost["train_s"])
    compared = None not in (same["train_s"], same["times_as_costly"])
    if len(result["rungs"]) > 1 and compared and cost["train_s"] > 0:
        others = f"{count(same['runs'], 'configuration')} at {size} px"
        work += f"; {others}: {same['train_macs']:.3g}, {same['times_as_costly']:.1f} times as many"
        longer = same["train_s"] / cost["train_s"]
        time += f"; {others}: about {duration(same['train_s'])}, {longer:.1f} times as long"
    yield f"multiply-adds of training: {work}"
    yield f"time of training: {time}"
    if "confirmation" in result:
        more, seeds = result["confirmation"]["cost"], len(result["confirmation"]["runs"])
        yield (
            f"further multiply-adds for {count(seeds, 'new seed')}, apart from the budget: "
            f"{more['train_macs']:.3g}, as many as {more['full_size_runs']:.2f} runs at {size} px"
        )
        yield f"further time for {count(seeds, 'new seed')}: {duration(more['train_s'])}"


def _trace_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return headings and a row for each configuration; first what came furthest, then by error."""
    names, sizes = list(result["trace"][0]["changes"]), [rung["size"] for rung in result["rungs"]]
    rows = [["number", *names, *(f"{size} px" for size in sizes)]]

    def place(one: Mapping[str, Any]) -> tuple[int, float, int]:
        error = one["rungs"][-1]["error"]
        return -len(one["rungs"]), 2.0 if error is None else error, one["configuration"]

    for one in sorted(result["trace"], key=place):
        ends = [
            percent(rung["error"]) if rung["status"] == "trained" else str(rung["status"])
            for rung in one["rungs"]
        ]
        values = (value_text(one["changes"].get(name), 4) for name in names)
        blank = [""] * (len(sizes) - len(ends))
        rows.append([str(one["configuration"]), *values, *ends, *blank])
    return rows
