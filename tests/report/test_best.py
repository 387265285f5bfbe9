"""The best run: which it is, its worst classes, and what the page says about them."""

import json

import pytest

import lowres
from lowres.recipe import Recipe
from lowres.report.analysis import analyse
from lowres.report.reading import read_rows
from made_runs import write_run


def classes(*errors, images=20):
    """Return what a run records about classes, by their errors."""
    named = [
        {"class": f"c{label}", "images": images, "error": error}
        for label, error in enumerate(errors)
    ]
    return {
        "balanced_error": sum(errors) / len(errors),
        "worst_classes": sorted(named, key=lambda one: -one["error"]),
        "confused_classes": [
            {"class": "c1", "taken_for": "c0", "images": 5, "share": 5 / images},
            {"class": "c0", "taken_for": "c2", "images": 1, "share": 1 / images},
        ],
    }


def best_of(folder):
    return analyse(read_rows(folder)[0]).best


def test_the_best_run_of_the_best_recipe_at_the_largest_size(tmp_path):
    for size, lr, errors in (
        (8, 0.1, (0.01, 0.01)),
        (16, 0.1, (0.30, 0.32)),
        (16, 0.2, (0.20, 0.60)),
        (8, 0.2, (0.02, 0.02)),
    ):
        for seed, error in enumerate(errors):
            write_run(tmp_path, Recipe(variant=f"{size}-box", lr=lr, seed=seed, epochs=1), error)
    best = best_of(tmp_path)
    assert (best.row.recipe.size, best.row.recipe.lr, best.row.error) == (16, 0.1, 0.30)
    assert (best.mean_error, best.runs, best.test_error) == (pytest.approx(0.31), 2, None)
    assert best.sentences == [], "runs of an older lowres"


def test_sentences_name_three_classes_and_hide_a_balanced_error_that_is_equal(tmp_path):
    write_run(tmp_path, Recipe(epochs=1), 0.25, **classes(0.0, 0.5, 0.25, 0.3, 0.2))
    assert best_of(tmp_path).sentences == [
        "Classes with most errors in the best run: c1 (10 of 20), c3 (6 of 20), c2 (5 of 20).",
        "Classes that the best run confuses: c1 taken for c0 (5 of 20), c0 taken for c2 (1 of 20).",
    ]
    assert [one.name for one in best_of(tmp_path).worst] == ["c1", "c3", "c2", "c4"]


def test_a_run_without_errors_has_no_worst_class(tmp_path):
    none = {"balanced_error": 0.0, "confused_classes": []}
    perfect = {**classes(0.0, 0.0), **none}
    write_run(tmp_path, Recipe(epochs=1), 0.0, **perfect)
    assert best_of(tmp_path).sentences == []
    assert 'id="classes"' not in lowres.write_report(tmp_path).files[0].read_text()


def test_a_study_without_a_trained_run_has_no_best(tmp_path):
    write_run(tmp_path, Recipe(epochs=1), None)
    assert best_of(tmp_path) is None


def test_the_page_of_a_run_is_about_that_run(tmp_path):
    result = classes(0.1, 0.7, 0.4) | {"test_top1_error": 0.43}
    run = write_run(tmp_path, Recipe(epochs=2), 0.4, **result)
    page, _, numbers = lowres.write_report(run).files
    text = page.read_text()
    assert "<h1>What did this run reach?</h1>" in text
    assert '<p class="word">40.0 %</p>' in text
    assert "40.0 % top-1 error on val, 43.0 % on test at 32-box, 1 run" in text
    assert "<h2>Classes</h2>" in text
    assert "<td>c1</td><td>14 of 20</td><td>70.0</td>" in text
    assert "<td>c1</td><td>c0</td><td>5 of 20</td><td>25.0</td>" in text
    for other in ("verdict", "learning-rate", "ranks", "cost"):
        assert f'<section id="{other}">' not in text
        assert f'href="#{other}"' not in text
    best = json.loads(numbers.read_text())["best"]
    assert best["worst"][0] == {"name": "c1", "taken_for": "", "wrong": 14, "images": 20}
    assert (best["mean_error"], best["test_error"], best["runs"]) == (0.4, 0.43, 1)
