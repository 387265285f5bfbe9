"""`lowres report --without`: errors without the validation images that a file lists."""

import csv
import json

import numpy as np
import pytest

from lowres.comparing.check import check
from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.report.files import write_report
from lowres.report.without import read_listed
from made_runs import write_run
from near_images import CHANGES, make_store, photograph, plain_set


@pytest.fixture
def found(tmp_path):
    """A store whose val has, of 6 images, an equal one, two near-duplicates and three others."""
    images = plain_set()
    images["val/cat/leak"] = images["train/cat/1"]
    images["val/dog/near"] = CHANGES["darker"](images["train/dog/3"])
    images["val/dog/near2"] = images["val/dog/near"]
    images["val/dog/other"] = photograph(5000)
    images["val/dog/own"] = CHANGES["darker"](images["val/dog/other"])
    checked = check(make_store(tmp_path, images))
    checked.write_csv(tmp_path / "pairs.csv")
    return checked


def runs_of(found, folder, wrong):
    store = {"path": str(found.store.path), "digest": found.store.manifest.digest}
    for lr, of in wrong.items():
        recipe = Recipe(variant="8-box", epochs=2, lr=lr)
        write_run(folder, recipe, float(np.mean(of)), store=store, wrong=of)
    return folder


def test_the_list_of_a_check_is_what_check_calls_leaked(found, tmp_path):
    equal, similar = found.leaked("val")
    assert equal.sum() == 1
    assert (equal | similar).sum() == 3
    listed = read_listed(tmp_path / "pairs.csv")
    assert sorted(listed["val"]) == (equal | similar).nonzero()[0].tolist()
    assert set(listed) == {"val"}


def test_one_run_states_both_errors(found, tmp_path):
    dirty = np.logical_or(*found.leaked("val"))
    wrong = ~dirty
    wrong[wrong.nonzero()[0][0]] = False  # 3 of 7 are wrong; 3 of the 4 clean ones
    runs = runs_of(found, tmp_path / "runs", {0.1: wrong})
    report = write_report(runs, ("html", "md", "csv", "json"), without=tmp_path / "pairs.csv")
    sentence = "Error 42.86 % on the 7 images of val; 75.00 % on the 4 that are not in pairs.csv."
    assert report.sentences[-1] == sentence
    page, text = (runs / "report.html").read_text(), (runs / "report.md").read_text()
    assert sentence in page
    assert "<h2>Without some images</h2>" in page
    assert "## Without some images" in text
    (line,) = csv.DictReader((runs / "runs.csv").read_text().splitlines())
    assert float(line["top1_error_without"]) == 0.75
    record = json.loads((runs / "report.json").read_text())["without"]
    assert record["left"] == 4
    assert record["rows"][0]["listed"] == 0.0


def test_several_configurations(found, tmp_path):
    dirty = np.logical_or(*found.leaked("val"))
    one_clean = np.zeros(7, bool)
    one_clean[(~dirty).nonzero()[0][0]] = True
    runs = runs_of(found, tmp_path / "runs", {0.1: one_clean, 0.2: dirty})
    report = write_report(runs, ("json",), without=tmp_path / "pairs.csv")
    assert report.sentences[-1] == (
        "On the 4 that are not in pairs.csv, of 7 images of val, errors of 2 configurations "
        "change by -42.9 to +10.7 points; lr 0.2 has the least, and not lr 0.1 (0.00 %)."
    )


def test_a_list_of_your_own(found, tmp_path):
    runs = runs_of(found, tmp_path / "runs", {0.1: [True, False, True, False, False, False, False]})
    own = tmp_path / "own.csv"
    own.write_text("row\n0\n2\n")
    report = write_report(runs, ("json",), without=own)
    assert report.sentences[-1].endswith("0.00 % on the 5 that are not in own.csv.")
    own.write_text("split,row\ntest,3\n")
    report = write_report(runs, ("json",), without=own)
    assert report.sentences[-1] == "own.csv lists no image of val: no error changes."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\n3\n", "must be a CSV file with a column row; it has image"),
        ("", "it has no columns"),
        ("row\nthree\n", "cannot be read as a list of images: invalid literal"),
        ("row\n7\n", "lists images of another store: run lowres check .* --out"),
        ("row\n-1\n", "lists images of another store"),
        ("row,key\n0,elsewhere.png\n", "row 0 of val is cat/0.png, and not elsewhere.png"),
        ("row\n" + "".join(f"{row}\n" for row in range(7)), "lists all 7 images of val"),
    ],
)
def test_lists_that_do_not_fit(found, tmp_path, text, message):
    runs = runs_of(found, tmp_path / "runs", {0.1: np.zeros(7)})
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(StudyError, match=message):
        write_report(runs, ("json",), without=tmp_path / "own.csv")


def test_runs_without_outcomes(found, tmp_path):
    write_run(tmp_path / "runs", Recipe(variant="8-box", epochs=2), 0.5)
    with pytest.raises(StudyError, match=r"no run has outcomes\.npz"):
        write_report(tmp_path / "runs", ("json",), without=tmp_path / "pairs.csv")
