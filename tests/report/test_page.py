"""The page and its files, for a small study with a failed and a diverged run."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

import lowres
from lowres.errors import LowresError
from lowres.recipe import Recipe
from lowres.run import Run
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.training import loop

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def study(store_path, tmp_path_factory):
    store = lowres.open_store(store_path)
    path = tmp_path_factory.mktemp("studies") / "a <b>study"
    axes = [Axis("variant", ("8-box", "16-box")), Axis("lr", (0.01, 0.05)), Axis("seed", (0, 1))]
    planned = Study.plan(path, store, BASE, axes)
    for run in planned.runs:
        loop.finish(run)
    bad = Recipe.from_record(BASE.to_record() | {"lr": 1e30, "epochs": 9})
    loop.finish(Run.plan(path / "runs" / "diverging", bad, store))
    failing = Recipe.from_record(BASE.to_record() | {"lr": 0.5})
    Run.plan(path / "runs" / "failing", failing, store).record_error("OSError", "<disk> full")
    lowres.write_report(path)
    return path


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [
            value for name, value in attrs if name in ("src", "href", "xlink:href", "data")
        ]


def test_page_loads_nothing_from_elsewhere(study):
    text = (study / "report.html").read_text()
    links = Links()
    links.feed(text)
    assert all(link.startswith(("#", "data:")) for link in links.found)
    assert not re.search(r"@import|url\((?!#)|<script", text)


def test_page_shows_every_run_and_escapes_text(study):
    text = (study / "report.html").read_text()
    for run in Study.open(study).runs:
        assert run.path.name in text
    assert "&lt;disk&gt; full" in text
    assert "a &lt;b&gt;study" in text
    assert "<disk>" not in text
    assert text.count("<svg") == 3
    assert re.search(r"10 runs: (?=.*8 trained)(?=.*1 diverged)(?=.*1 failed)", text)


def test_csv_and_json_hold_the_same_numbers(study):
    with (study / "runs.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    record = json.loads((study / "report.json").read_text())
    assert len(rows) == len(record["runs"]) == 10
    for run in record["runs"]:
        assert rows[run["name"]]["status"] == run["status"]
        if run["status"] == "trained":
            assert float(rows[run["name"]]["top1_error"]) == run["result"]["top1_error"]
    assert rows["failing"]["reason"] == "OSError: <disk> full"
    assert record["transfers"][0]["verdict"].startswith("8-box for 16-box: cannot tell")


def test_same_runs_same_page(study):
    before = (study / "report.html").read_bytes()
    lowres.write_report(study)
    assert (study / "report.html").read_bytes() == before


def test_a_folder_with_one_run(study, tmp_path):
    run = Study.open(study).runs[0].path
    page, found = lowres.write_report(run)
    assert page == run / "report.html"
    assert found == []
    for name in ("report.html", "report.json", "runs.csv"):
        (run / name).unlink()


@pytest.mark.parametrize(
    ("name", "text"),
    [("result.json", "{}"), ("result.json", "[1"), ("metrics.jsonl", "{]"), ("recipe.json", "[]")],
)
def test_damaged_runs_are_named(study, tmp_path, name, text):
    copy = shutil.copytree(study / "runs", tmp_path / "runs")
    run = next(path.parent for path in sorted(copy.glob("8-box*/result.json")))
    (run / name).write_text(text)
    with pytest.raises(LowresError, match=f"{run.name}/{name} is .*damaged"):
        lowres.write_report(copy)


def test_a_study_whose_run_is_gone_is_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "study")
    shutil.rmtree(Study.open(copy).runs[0].path)
    with pytest.raises(LowresError, match=r"is not a run.*plan the study again"):
        lowres.write_report(copy)


def test_nothing_trained_yet(store, tmp_path):
    Study.plan(tmp_path / "study", store, BASE, [Axis("lr", (0.1, 0.2))])
    page, _ = lowres.write_report(tmp_path / "study")
    assert "No run was trained to its end." in page.read_text()
