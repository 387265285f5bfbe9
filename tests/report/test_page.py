"""What a report writes, for a study with hostile names, a failed and a diverged run."""

import csv
import gzip
import json
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest

import lowres
from lowres.errors import LowresError, StudyError
from lowres.recipe import Recipe
from lowres.report.files import FIGURES
from lowres.statistics.verdict import LIMITS_POINTS
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.training.run import Run
from made_runs import fail_run, plan_run, write_run, write_study

HOSTILE = "</script><script>alert('x')</script> | ![x](http://example.org/x.png) `y`"
EVERYTHING = ("html", "md", "csv", "json", "png")


@pytest.fixture(scope="module")
def place(store_path):
    """A store that is there, as runs name it."""
    store = lowres.open_store(store_path)
    return {"path": str(store_path), "digest": store.manifest.digest}


@pytest.fixture(scope="module")
def study(place, tmp_path_factory):
    path = tmp_path_factory.mktemp("studies") / "a <script>alert(1)<b>study"
    write_study(path, sizes=(8, 16), filters=("box", "lanczos"), widths=(1.0,), store=place)
    write_run(path, Recipe(variant="8-box", lr=9.0, width=1.0, epochs=4), None, store=place)
    fail_run(path / "<img src=x onerror=alert(1)>", Recipe(lr=0.7), HOSTILE, store=place)
    lowres.write_report(path, EVERYTHING)
    return path


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for n, v in attributes if n in ("src", "href", "xlink:href", "data")]
        assert not any(name.startswith("on") for name, _ in attributes)


def elements(page):
    found = Elements()
    found.feed(page.read_text())
    return found


def test_page_loads_nothing_from_elsewhere(study):
    assert all(link.startswith(("#", "data:")) for link in elements(study / "report.html").links)
    assert not re.search(r"@import|url\(", (study / "report.html").read_text())


def test_hostile_text_stays_text(study):
    found = elements(study / "report.html")
    assert found.tags.count("script") == 2, "the numbers and our own"
    assert found.tags.count("b") == 4 + 2, "four words explained, two runs without an error"
    text = (study / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;b&gt;study" in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    markdown = (study / "report.md").read_text()
    assert "<script" not in markdown
    assert "![x](" not in markdown


def test_page_holds_every_run_and_every_number(study):
    text = (study / "report.html").read_text()
    assert "50 runs: " in text
    names = [path.name for path in study.iterdir() if path.name.startswith(("8-", "16-"))]
    assert len(names) == 49
    assert all(f"<td>{name}</td>" in text for name in names)
    (inside,) = re.findall(r'<script type="application/json" id="files">(.*?)</script>', text)
    for name, packed in json.loads(inside).items():
        assert gzip.decompress(b64decode(packed)) == (study / name).read_bytes()


def test_page_shows_images_of_the_store_at_every_size(study):
    images = [link for link in elements(study / "report.html").links if "image/png" in link]
    assert len(images) == 6 * 4, "six images; the store lacks the variant of the failed run"


def test_page_says_that_a_store_is_gone(tmp_path):
    write_run(tmp_path, Recipe(epochs=1), 0.5)
    report = lowres.write_report(tmp_path)
    assert "store …/store does not exist" in report.files[0].read_text()


def test_nothing_names_a_folder_of_the_machine(study, place):
    folder = str(Path(place["path"]).parent)
    files = [study / name for name in ("report.html", "report.md", "runs.csv", "report.json")]
    (inside,) = re.findall(r'id="files">(.*?)</script>', files[0].read_text())
    texts = [path.read_text() for path in files]
    texts += [gzip.decompress(b64decode(packed)).decode() for packed in json.loads(inside).values()]
    assert not any(folder in text for text in texts)


def test_a_file_that_is_too_large_stays_beside_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("lowres.report.page.MOST_INSIDE", 2000)
    write_run(tmp_path, Recipe(epochs=9), 0.5)
    text = lowres.write_report(tmp_path).files[0].read_text()
    assert '<a href="report.json">report.json</a> beside this page' in text
    assert 'data-file="runs.csv"' in text


def test_csv_and_json_hold_the_same_numbers(study):
    with (study / "runs.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    record = json.loads((study / "report.json").read_text())
    assert len(rows) == len(record["runs"]) == 50
    for run in record["runs"]:
        assert rows[run["name"]]["status"] == run["status"]
        if run["status"] == "trained":
            assert float(rows[run["name"]]["top1_error"]) == run["result"]["top1_error"]
            assert run["epochs"]["top1_error"][-1] == pytest.approx(run["result"]["top1_error"])
    assert rows["<img src=x onerror=alert(1)>"]["reason"] == f"OSError: {HOSTILE}"
    first = record["pairs"][0]
    assert first["sentence"] in record["verdicts"]
    assert len(first["configurations"]) == len(first["proxy_errors"]) == 6


def test_columns_of_the_csv_are_unique(study):
    with (study / "runs.csv").open() as file:
        rows = list(csv.reader(file))
    headings = rows[0]
    assert len(headings) == len(set(headings))
    trained = dict(zip(headings, next(row for row in rows if row[1] == "trained"), strict=True))
    assert (trained["epochs"], trained["result_epochs"]) == ("4", "4")
    assert (trained["eval_split"], trained["result_eval_split"]) == ("", "val")
    assert (trained["precision"], trained["result_precision"]) == ("auto", "float32")


def test_markdown_has_the_verdicts_and_whole_tables(study):
    text = (study / "report.md").read_text()
    for sentence in lowres.write_report(study, ("md",)).sentences:
        assert f"- {sentence}" in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            columns = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(columns) == 1, block


def test_png_has_an_image_of_each_chart(study):
    names = {path.name for path in (study / FIGURES).iterdir()}
    assert {"learning-rate-1.png", "ranks-1.png", "anytime-seconds.png"} <= names
    assert {"front-flops.png", "filters-1.png", "filters-2.png"} <= names
    for path in (study / FIGURES).iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_only_what_was_asked_for_is_written(study, tmp_path):
    run = next(path for path in sorted(study.iterdir()) if path.name.startswith("8-box-k1-lr0.08"))
    copy = shutil.copytree(run, tmp_path / "run")
    before = set(copy.iterdir())
    report = lowres.write_report(copy, ("csv", "csv"))
    assert report.files == (copy / "runs.csv",)
    assert set(copy.iterdir()) - before == {copy / "runs.csv"}


def test_an_unknown_format_is_refused(study):
    with pytest.raises(StudyError, match=r"format must be one of html, md, .* was 'pdf'"):
        lowres.write_report(study, ("pdf",))


@pytest.mark.full
def test_same_runs_same_bytes(study):
    paths = [study / name for name in ("report.html", "report.md", "report.json")]
    paths += sorted((study / FIGURES).iterdir())[:2]
    before = [path.read_bytes() for path in paths]
    lowres.write_report(study, EVERYTHING)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.full
def test_a_page_of_500_runs_stays_small(tmp_path):
    write_study(tmp_path, sizes=(8, 16, 32, 64), widths=(1.0, 2.0, 4.0, 8.0, 10.0), seeds=4,
                epochs=40)  # fmt: skip
    report = lowres.write_report(tmp_path, ("html",))
    assert report.files[0].read_text().count('<tr class="trained">') == 460
    assert report.files[0].stat().st_size < 2.5e6


@pytest.mark.parametrize(
    ("name", "text"),
    [("result.json", "{}"), ("result.json", "[1"), ("metrics.jsonl", "{]"), ("recipe.json", "[]")],
)
def test_damaged_runs_are_named(tmp_path, name, text):
    run = write_run(tmp_path, Recipe(epochs=1), 0.5)
    (run / name).write_text(text)
    with pytest.raises(LowresError, match=f"{run.name}/{name} is .*damaged"):
        lowres.write_report(tmp_path)


@pytest.mark.parametrize("file", ["recipe.json", "result.json", "metrics.jsonl", "error.json"])
def test_a_damaged_run_is_a_row_with_its_reason(store, tmp_path, file):
    planned = Study.plan(tmp_path / "study", store, BASE, [Axis("lr", (0.1, 0.2))])
    lost, kept = (run.path for run in planned.runs)
    (lost / file).write_text('{"status": 3}')
    page, table, numbers = lowres.write_report(tmp_path / "study").files
    assert "2 runs: 1 planned, 1 damaged." in page.read_text()
    assert f"<b>{lost.name}</b> damaged: …/runs/{lost.name}/{file} is damaged" in page.read_text()
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [line["run"] for line in lines] == [kept.name, lost.name]
    assert lines[1]["status"] == "damaged"
    assert lines[1]["lr"] == ""
    assert file in lines[1]["reason"]
    assert json.loads(numbers.read_text())["runs"][1]["status"] == "damaged"
    lowres.write_report(tmp_path / "study", ("md", "png"))
    shutil.rmtree(lost)
    page, *_ = lowres.write_report(tmp_path / "study").files
    assert "it has no recipe.json" in page.read_text()


BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)


@pytest.mark.full
def test_a_run_that_was_really_trained(store, tmp_path):
    lowres.train(store, BASE, tmp_path / "run")
    page, *_ = lowres.write_report(tmp_path / "run").files
    assert Run.open(tmp_path / "run").result()["network"] in page.read_text()


def test_nothing_trained_yet(tmp_path):
    plan_run(tmp_path / "run", Recipe())
    page, *_ = lowres.write_report(tmp_path, EVERYTHING).files
    assert "No run was trained to its end." in page.read_text()


def test_bearable_regret_and_its_probabilities_are_in_the_record(tmp_path):
    write_study(tmp_path, sizes=(8, 16), widths=(1.0,))
    for points, bearable in ((1, None), (3, 0.03)):
        lowres.write_report(tmp_path, ("json",), bearable=bearable)
        verdict = json.loads((tmp_path / "report.json").read_text())["pairs"][0]["verdict"]
        assert verdict["bearable"] == points / 100
        probabilities = dict(zip(LIMITS_POINTS, verdict["probabilities"], strict=True))
        assert probabilities[points] == verdict["p_bearable"]
        assert list(probabilities.values()) == sorted(probabilities.values())
    with pytest.raises(StudyError, match="share from 0 to 1"):
        lowres.write_report(tmp_path, ("json",), bearable=3)
