"""The page of results quotes what lowres says of the tables in bench/results."""

import csv
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lowres.statistics.anytime_front import anytime_front
from lowres.statistics.optimum import optimum
from lowres.statistics.paired import compare_values
from lowres.statistics.time_to_error import first_at_most, pooled_spread, time_to_error
from lowres.study.judging import judge_table
from lowres.study.results_files import Columns, read_results

ROOT = Path(__file__).resolve().parents[1]
PAGE, TABLES = ROOT / "docs" / "results.md", ROOT / "bench" / "results"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documents are not here")


@cache
def page():
    """Return the page in one line, without the marks of quotations."""
    text = re.sub(r"\n> (?:- )?", "\n", PAGE.read_text())
    return " ".join(text.split())


def errors_of(name, *columns):
    """Return the errors of each combination of values of some columns, by seed."""
    found = defaultdict(dict)
    with (TABLES / name).open() as file:
        for row in csv.DictReader(file):
            found[tuple(row[column] for column in columns)][row["seed"]] = float(row["error"])
    return found


def points(share):
    return f"{100 * share:.1f}"


def test_the_verdicts_on_sizes():
    table = read_results(TABLES / "tiny-imagenet-20-h100.csv", Columns())
    assert judge_table(table, "size=8", "size=64", images=1000).sentence() in page()
    table = read_results(TABLES / "cifar-10.csv", Columns(axes=("width", "lr"), sides=("size",)))
    assert judge_table(table, "size=8", "size=32", images=10_000).sentence() in page()


def test_the_filters():
    errors = errors_of("clothing-10-filters.csv", "filter", "lr")
    names = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
    rates = sorted({rate for _, rate in errors})
    seeds = sorted({seed for runs in errors.values() for seed in runs})
    table = np.array([[[errors[n, r].get(s, np.nan) for s in seeds] for r in rates] for n in names])
    comparison = compare_values(table, names)
    (found,) = comparison.findings
    assert found.first == "nearest"
    low, high = points(found.interval.low), points(found.interval.high)
    assert f"by {points(found.mean)} [{low}, {high}] points" in page()
    others = [pair for pair in comparison.differences if "nearest" not in (pair.first, pair.second)]
    assert not any(pair.sure for pair in others)
    most = max(max(-pair.interval.low, pair.interval.high) for pair in others)
    assert f"no other two differ by more than {points(most)} points" in page()
    reach = max(pair.interval.high - pair.mean for pair in others)
    assert f"{comparison.blocks} runs of each" in page()
    assert f"known to ± {points(reach)} points" in page()
    means = np.nanmean(table, axis=(1, 2))
    listed = ", ".join(f"{n} {points(mean)}" for n, mean in zip(names, means, strict=True))
    assert f"Mean top-1 error, %: {listed}" in page()


@pytest.mark.parametrize(("name", "images"), [("clothing-10", 713), ("cifar-10", 2000)])
def test_the_table_of_proxies(name, images):
    columns = Columns(axes=("lr", "weight_decay"), sides=("side",))
    table = read_results(TABLES / f"{name}-proxies.csv", columns)
    costs = {row.decisions["side"]: row.cost for row in table.rows}
    for proxy in ("size", "width", "epochs", "images"):
        found = judge_table(table, f"side={proxy}", "side=target", images=images)
        first = found.verdict.shortlists[0]
        pairs, alike = found.verdict.pairs
        choice = f"{found.choice['lr']:g}, {found.choice['weight_decay']:g}"
        row = (
            f"| {name} | {proxy} | {costs[proxy] / costs['target']:.2f} | {choice} | "
            f"{points(first.observed)} | {points(first.expected)} | {points(first.most)} | "
            f"{found.verdict.p_bearable:.2f} | {alike} of {pairs} |"
        )
        assert row in page()


def test_the_front_along_trainings():
    runs, costs = defaultdict(lambda: defaultdict(list)), defaultdict(dict)
    with (TABLES / "tiny-imagenet-20-front.csv").open() as file:
        for row in csv.DictReader(file):
            key = f"{row['size']} px, {row['width']}, {row['lr']}"
            runs[key][row["seed"]].append(float(row["error"]))
            costs[key][row["epoch"]] = float(row["cost"])
    names = list(runs)
    front = anytime_front(
        [list(costs[name].values()) for name in names],
        [list(runs[name].values()) for name in names],
        [name.rpartition(",")[0] for name in names],
    )
    found = {
        f"| {names[one.configuration]}, {one.epoch} | {points(one.error)} "
        f"[{points(one.interval.low)}, {points(one.interval.high)}] | {one.p:.2f} |"
        for one in front
    }
    section = PAGE.read_text().partition("## Size and width")[2].partition("\n## ")[0]
    quoted = re.findall(r"\| \d+ px, [^|]*\|[^|]*\|[^|]*\|", section)
    assert len(quoted) == 8
    assert found >= set(quoted)
    assert max(one.cost for one in front if names[one.configuration].startswith("8 px")) < 6.8e10


def test_the_order_of_optimizers():
    name = "tiny-imagenet-20-optimizers.csv"
    table = read_results(TABLES / name, Columns(axes=("optimizer", "lr"), sides=("size",)))
    judged = judge_table(table, "size=16", "size=64", images=1000)
    [order] = judged.verdict.orders
    [field] = [one for one in judged.verdict.fields if one.field == "optimizer"]
    for sentence in (judged.sentence(), field.sentence(), order.sentence()):
        assert sentence in page()
    errors, firsts = errors_of(name, "size", "optimizer", "lr"), defaultdict(list)
    with (TABLES / name).open() as file:
        for row in csv.DictReader(file):
            place = first_at_most([float(one) for one in row["epoch_errors"].split()], 0.72)
            epochs = np.inf if place is None else place + 1.0
            firsts[row["size"], row["optimizer"], row["lr"]].append(epochs)
    two = {
        rate: np.mean([errors["16", "muon", rate][seed] for seed in ("0", "1")])
        for rate in ("0.015", "0.04", "0.12")
    }
    assert min(two, key=two.get) == "0.015", "the page says that the third seed changed the choice"
    spread = pooled_spread(firsts.values())
    for value, error, ends in zip(order.values, order.errors, order.intervals, strict=True):
        cells = [value]
        for size in ("16", "64"):
            means = {
                rate: np.mean(list(runs.values()))
                for (of, optimizer, rate), runs in errors.items()
                if (of, optimizer) == (size, value)
            }
            rate = min(means, key=means.get)
            cells.append(f"{points(means[rate])} (lr {rate})")
        cells.append(f"{points(error)} [{points(ends.low)}, {points(ends.high)}]")
        times = [
            (time_to_error(epochs, spread), rate)
            for (size, optimizer, rate), epochs in firsts.items()
            if (size, optimizer) == ("64", value)
        ]
        known = [(time, rate) for time, rate in times if time.value]
        time, rate = min(known, key=lambda one: one[0].value)
        found = f"{time.value:.1f} [{time.interval.low:.1f}, {time.interval.high:.1f}]"
        cells.append(f"{found} (lr {rate})")
        assert f"| {' | '.join(cells)} |" in page()


def test_rates_beyond_the_grid_of_tiny_imagenet():
    whole = errors_of("tiny-imagenet-20-h100.csv", "size", "width", "lr")
    beyond = errors_of("tiny-imagenet-20-rates.csv", "lr")
    errors = {rate: whole["16", "1.0", rate] for rate in ("0.04", "0.08", "0.16")} | {
        rate: beyond[(rate,)] for rate in ("0.32", "0.64")
    }
    cells = " | ".join(points(np.mean(list(runs.values()))) for runs in errors.values())
    assert f"| 16 px, width 1 | {cells} |" in page()


def test_the_law_of_the_learning_rate():
    columns = Columns(axes=("width", "lr"), sides=("size",))
    judged = judge_table(
        read_results(TABLES / "cifar-10-law.csv", columns), "size=8", "size=32", images=2000
    )
    assert judged.law is not None
    assert judged.law.sentence().partition("; at ")[0] in page()
    assert judged.sentence() in page()
    (of_rate,) = (each for each in judged.verdict.fields if each.field == "lr")
    assert of_rate.sentence().partition("; best")[0] in page()
    curves = defaultdict(dict)
    for (size, width, rate), runs in errors_of("cifar-10-law.csv", "size", "width", "lr").items():
        curves[size, width][float(rate)] = list(runs.values())
    for (size, width), curve in curves.items():
        most = max(map(len, curve.values()))
        table = [runs + [np.nan] * (most - len(runs)) for _, runs in sorted(curve.items())]
        found = optimum(sorted(curve), table)
        best = f"{found.lr:.2g}"
        if found.interval:
            best += f" [{found.interval.low:.2g}, {found.interval.high:.2g}]"
        means = " | ".join(points(np.mean(curve[rate])) for rate in sorted(curve))
        row = f"| {float(size):g} px, width {float(width):g} | {means} | {best} |"
        assert row in page()
