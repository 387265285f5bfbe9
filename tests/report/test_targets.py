import json
import re

import pytest

import lowres
from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.report.targets import soonest_of_each, times_to_error
from made_runs import write_run, write_study


def test_the_first_epoch_of_every_run_that_reaches_an_error(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8, 16), seeds=2)
    runs = [path.parent for path in study.rglob("metrics.jsonl")]
    finals = [json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]) for run in runs]
    error = sorted(one["top1_error"] for one in finals if one["top1_error"] is not None)[5]
    found = times_to_error(study, error)
    assert sum(one.runs for one in found) == len(runs)
    reached = [
        any(
            (json.loads(line)["top1_error"] or 1) <= error
            for line in (run / "metrics.jsonl").read_text().splitlines()
        )
        for run in runs
    ]
    assert sum(one.reached for one in found) == sum(reached) > 0
    known = [one.seconds.value for one in found if one.seconds.value is not None]
    assert known == sorted(known)
    assert all((one.epochs.value is not None) == (one.reached == one.runs) for one in found)


def test_an_error_that_is_no_share(tmp_path):
    write_study(tmp_path / "study", sizes=(8,), seeds=1)
    with pytest.raises(StudyError, match="must be a share from 0 to 1, was 40"):
        times_to_error(tmp_path / "study", 40)


def test_the_page_says_how_soon_each_configuration_reaches_the_error(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0,), epochs=4)
    page, markdown, numbers = lowres.write_report(study, ("html", "md", "json"), reach=0.70).files
    text = page.read_text()
    [section] = re.findall(r'<section id="reach">.*?</section>', text, re.DOTALL)
    assert "<h2>Time to an error of 70 %</h2>" in section
    assert '<a href="#reach">' in text
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", section)
    found = times_to_error(study, 0.70)
    assert [row.split("</td><td>")[0] for row in rows] == [one.configuration for one in found]
    first, cells = found[0], rows[0].split("</td><td>")
    assert cells[1] == f"{first.reached} of {first.runs}" == "2 of 2"
    assert cells[2].split()[0] == f"{first.epochs.value:.1f}"
    assert cells[3].split()[0] == f"{first.seconds.value:.1f}"
    never = [row for row, one in zip(rows, found, strict=True) if one.reached == 0]
    assert never
    assert all("0 of 2</td><td>\N{EN DASH}" in row for row in never)
    assert "## Time to an error of 70 %" in markdown.read_text()
    assert json.loads(numbers.read_text())["targets"][0]["reached"] == 2


def test_without_an_error_the_page_has_no_such_section(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8,), seeds=1)
    assert 'id="reach"' not in lowres.write_report(study, ("html",)).files[0].read_text()


RATES = {"momentum": (0.02, 0.06), "muon": (0.01, 0.04), "torch.optim:AdamW": (0.001, 0.003)}
LEAST = {"momentum": 0.40, "muon": 0.30, "torch.optim:AdamW": 0.50}


def of_optimizers(folder, worse=()):
    """Write runs of three optimizers with two rates each at 8 and 16 px; `worse` fall behind."""
    for size in (8, 16):
        for name, rates in RATES.items():
            for place, rate in enumerate(rates):
                for seed in (0, 1):
                    recipe = Recipe(
                        variant=f"{size}-box", optimizer=name, lr=rate, seed=seed, epochs=4,
                        weight_decay=LEAST[name],
                    )  # fmt: skip
                    error = LEAST[name] + 0.02 * place + 0.002 * seed + 0.3 / size
                    error += 0.3 * (name in worse and size == 16)
                    write_run(folder, recipe, error)
    return folder


def test_the_soonest_rate_of_each_optimizer(tmp_path):
    times = times_to_error(of_optimizers(tmp_path / "study"), 0.55)
    found = soonest_of_each(times, "optimizer")
    assert {(one.variant, one.words["optimizer"]) for one in found} == {
        (variant, name) for variant in ("8-box", "16-box") for name in RATES
    }
    assert [one.variant for one in found] == ["8-box"] * 3 + ["16-box"] * 3
    for one in found:
        same = [
            other.epochs.value
            for other in times
            if (other.variant, other.words) == (one.variant, one.words)
            and other.epochs.value is not None
        ]
        assert one.epochs.value == min(same, default=None)
    first = [one.words["optimizer"] for one in found[:3]]
    assert first == ["muon", "momentum", "torch.optim:AdamW"]
    assert soonest_of_each(times, "lr") == []
    page, markdown = lowres.write_report(tmp_path / "study", ("html", "md"), reach=0.55).files
    assert "The soonest configuration of each value in words" in page.read_text()
    table = markdown.read_text().partition("## Soonest of each value to 55 %")[2]
    assert table.partition("\n\n##")[0].count("| optimizer |") == 6


def test_the_report_says_whether_the_order_of_optimizers_holds(tmp_path):
    holds = of_optimizers(tmp_path / "holds")
    page, markdown, numbers = lowres.write_report(holds, ("html", "md", "json")).files
    [pair] = json.loads(numbers.read_text())["pairs"]
    [order] = pair["verdict"]["orders"]
    assert order["values"] == ["muon", "momentum", "torch.optim:AdamW"]
    assert order["answer"] == "stands in"
    sentence = (
        "From 8-box to 16-box, order of optimizer on the proxy, each at its best: muon, momentum, "
        "torch.optim:AdamW; on the target it holds within 1 point"
    )
    assert sentence in page.read_text()
    assert "weight decay: the" not in page.read_text(), "it follows from the optimizer"
    assert "## Whether an order holds" in markdown.read_text()
    assert "Optimizer: undecided" not in markdown.read_text(), "no two runs differ in it alone"
    turned = of_optimizers(tmp_path / "turned", worse=("momentum",))
    [text] = (path.read_text() for path in lowres.write_report(turned, ("md",)).files)
    assert "muon, momentum, torch.optim:AdamW; on the target it does not hold within" in text
    assert "the most reversed: torch.optim:AdamW is better than momentum by" in text
