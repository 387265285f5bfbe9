"""One bit an image: what a run classifies wrongly at its end."""

import numpy as np
import pytest

import lowres
from lowres.recipe import Recipe
from lowres.training.run import OUTCOMES_FILE, Execution


def test_outcomes_are_those_of_the_published_network(store, tmp_path):
    recipe = Recipe(variant="8-box", width=0.5, blocks=1, epochs=2, batch_size=8)
    result = lowres.train(store, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    with np.load(tmp_path / "run" / OUTCOMES_FILE) as file:
        wrong = np.unpackbits(file["wrong"], count=int(file["images"])).astype(bool)
    network = lowres.load_network(tmp_path / "run")
    logits = network.logits(store.images("val", "8-box"))
    assert (wrong == (logits.argmax(1).numpy() != store.labels("val"))).all()
    assert wrong.mean() == pytest.approx(result["top1_error"])
