"""One bit an image: what a run classifies wrongly at its end."""

import io

import numpy as np
import pytest

import lowres
from lowres.errors import RunError
from lowres.recipe import Recipe
from lowres.training.execution import Execution
from lowres.training.outcomes import class_errors
from lowres.training.run import OUTCOMES_FILE, Run, result_line


def test_outcomes_are_those_of_the_published_network(store, tmp_path):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=2, batch_size=8)
    result = lowres.train(store, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    wrong = Run.outcomes_in(tmp_path / "run")
    logits = lowres.load_network(tmp_path / "run").logits(store.images("val", "8-box"))
    assert (wrong == (logits.argmax(1).numpy() != store.labels("val"))).all()
    assert wrong.mean() == pytest.approx(result["top1_error"])
    classes = Run.open(tmp_path / "run").classes()
    for one in classes["classes"]:
        mine = wrong[store.labels("val") == store.classes.index(one["class"])]
        assert (one["images"], one["error"]) == (len(mine), pytest.approx(mine.mean()))
    assert result["balanced_error"] == classes["balanced_error"]
    assert result["worst_classes"][0]["error"] == max(o["error"] for o in classes["classes"])
    assert sum(pair["images"] for pair in classes["confused"]) == wrong.sum()
    assert result["confused_classes"] == classes["confused"][:10]


def test_class_errors_and_pairs_by_hand():
    labels, predicted = np.array([0, 0, 0, 0, 2, 2]), np.array([0, 2, 2, 1, 2, 0])
    assert class_errors(labels, predicted, ["cat", "none", "dog"]) == {
        "balanced_error": (3 / 4 + 1 / 2) / 2,
        "classes": [
            {"class": "cat", "images": 4, "error": 0.75},
            {"class": "dog", "images": 2, "error": 0.5},
        ],
        "confused": [
            {"class": "cat", "taken_for": "dog", "images": 2, "share": 0.5},
            {"class": "dog", "taken_for": "cat", "images": 1, "share": 0.5},
            {"class": "cat", "taken_for": "none", "images": 1, "share": 0.25},
        ],
    }
    assert class_errors(labels, labels, ["cat", "none", "dog"])["confused"] == []


def claiming(images):
    buffer = io.BytesIO()
    np.savez(buffer, images=np.int64(images), wrong=np.zeros(2, np.uint8))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        lambda _: b"not a file of NumPy",
        lambda whole: whole[:-40],
        lambda whole: whole.replace(b"wrong", b"wrung"),
        lambda _: claiming(10**15),
        lambda _: claiming(-3),
        lambda _: b"",
    ],
)
def test_runs_without_outcomes_are_valid_and_damaged_ones_are_named(store, tmp_path, damaged):
    run = Run.plan(tmp_path / "run", Recipe(variant="8-box", batch_size=8), store)
    assert Run.outcomes_in(run.path) is None
    run.write_outcomes(np.ones(9, bool))
    whole = (run.path / OUTCOMES_FILE).read_bytes()
    (run.path / OUTCOMES_FILE).write_bytes(damaged(whole))
    with pytest.raises(RunError, match=rf"{OUTCOMES_FILE} is damaged: .*remove it"):
        Run.outcomes_in(run.path)


@pytest.fixture(scope="module")
def halves(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("halves") / "store"
    lowres.build(source, path, lowres.BuildOptions(size=8, test_fraction=0.5))
    return lowres.open_store(path)


def test_test_is_measured_once_at_the_end(halves, tmp_path):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8)
    result = lowres.train(halves, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    logits = lowres.load_network(tmp_path / "run").logits(halves.images("test", "8-box"))
    wrong = logits.argmax(1).numpy() != halves.labels("test")
    assert result["test_top1_error"] == pytest.approx(wrong.mean())
    assert result["test_top5_error"] == 0, "there are four classes"
    assert result["eval_split"] == "val"
    assert len(Run.outcomes_in(tmp_path / "run")) == halves.splits["val"]
    *before, last = Run.open(tmp_path / "run").metrics()
    assert all("test_top1_error" not in epoch for epoch in before)
    assert last["test_top1_error"] == result["test_top1_error"]
    assert f"; test top-1 error {100 * wrong.mean():.2f} %; " in result_line(result)
    assert lowres.runs(tmp_path)[0]["test_top1_error"] == result["test_top1_error"]


def test_errors_on_test_itself_are_not_measured_twice(halves, tmp_path):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8, eval_split="test")
    result = lowres.train(halves, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    assert result["eval_split"] == "test"
    assert "test_top1_error" not in result
