"""Published weights, and warm starts from those of a smaller size."""

import json

import pytest
import torch
from safetensors.torch import load_file

import lowres
from lowres.errors import RunError
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training import loop
from lowres.training.execution import Execution
from lowres.training.run import Run, WarmStart
from lowres.training.weights import warm_start

CPU = Execution(device="cpu")  # equal bits
SMALL = Recipe(stages="to-8px", variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)
LARGE = Recipe(variant="16-box", width=0.5, blocks=1, epochs=1, batch_size=8)


@pytest.fixture
def small(store, tmp_path):
    lowres.train(store, SMALL, tmp_path / "small")
    return tmp_path / "small"


def test_layers_that_both_networks_have_are_copied(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    fresh, model = (make_network(LARGE, 4).module for _ in range(2))
    names = warm_start(Run.open(run.path), model)
    # One stage at 8 px and two at 16: the stem and the first stage, which is one block here.
    assert {name.rpartition(".")[0] for name in names} == {
        "stem", "stem_norm", "blocks.0.conv1", "blocks.0.norm2", "blocks.0.conv2",
        "blocks.0.projection",
    }  # fmt: skip
    assert {"stem_norm.running_mean", "stem_norm.running_inverse"} <= set(names)
    given, was = load_file(small / "weights.safetensors"), fresh.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, given[name] if name in names else was[name])


def test_a_warm_start_changes_the_run_and_its_name(store, small, tmp_path):
    start = WarmStart.of(small)
    run = Run.plan(tmp_path / "warm", LARGE, store, start)
    assert json.loads((run.path / "recipe.json").read_text())["start"] == {
        "run": "small",
        "sha256": start.sha256,
    }
    digest = store.manifest.digest
    assert Run.name(LARGE, digest, start) != Run.name(LARGE, digest) == LARGE.run_name(digest)
    warm = loop.finish(run, execution=CPU)
    plain = lowres.train(store, LARGE, tmp_path / "plain", execution=CPU)
    assert warm["weights_sha256"] != plain["weights_sha256"]
    again = loop.finish(Run.plan(tmp_path / "again", LARGE, store, start), execution=CPU)
    assert again["weights_sha256"] == warm["weights_sha256"]


def test_planning_resumes_after_a_kill(store, small, tmp_path):
    start = WarmStart.of(small)
    run = Run.plan(tmp_path / "large", LARGE, store, start)
    (run.path / "initial.safetensors").unlink()
    with pytest.raises(RunError, match=r"initial\.safetensors cannot be read"):
        warm_start(Run.open(run.path), make_network(LARGE, 4).module)
    Run.plan(tmp_path / "large", LARGE, store, start)
    assert warm_start(Run.open(run.path), make_network(LARGE, 4).module)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.json.tmp").write_text("{")
    assert Run.plan(tmp_path / "other", LARGE, store).state == "planned"


def test_changed_weights_are_refused(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    with pytest.raises(RunError, match="was planned differently: start was run small"):
        Run.plan(tmp_path / "large", LARGE, store)
    file = run.path / "initial.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="is damaged: it does not hold the weights of small"):
        loop.finish(Run.open(run.path))
    assert "is damaged" in Run.open(run.path).error()["message"]
    with pytest.raises(RunError, match=r"weights\.safetensors is missing"):
        WarmStart.of(tmp_path / "large")


def test_weights_that_fit_no_layer_are_refused(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    with pytest.raises(RunError, match="no layer of its network has the same name"):
        warm_start(run, torch.nn.Linear(2, 2))
