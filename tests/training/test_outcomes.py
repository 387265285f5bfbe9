"""One bit an image: what a run classifies wrongly at its end."""

import io

import numpy as np
import pytest

import lowres
from lowres.errors import RunError
from lowres.recipe import Recipe
from lowres.training.run import OUTCOMES_FILE, Execution, Run


def test_outcomes_are_those_of_the_published_network(store, tmp_path):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=2, batch_size=8)
    result = lowres.train(store, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    wrong = Run.outcomes_in(tmp_path / "run")
    logits = lowres.load_network(tmp_path / "run").logits(store.images("val", "8-box"))
    assert (wrong == (logits.argmax(1).numpy() != store.labels("val"))).all()
    assert wrong.mean() == pytest.approx(result["top1_error"])


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
