"""Weights that are taken over from a smaller size: which, and that they are refused when wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file

import lowres
from lowres.errors import RunError
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training import loop
from lowres.training.carrying import carry
from lowres.training.run import Run, WarmStart

SMALL = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)
LARGE = Recipe(variant="16-box", width=0.5, blocks=1, epochs=1, batch_size=8)


@pytest.fixture
def small(store, tmp_path):
    lowres.train(store, SMALL, tmp_path / "small")
    return tmp_path / "small"


def test_what_both_networks_have_is_carried(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    fresh, model = (make_network(LARGE, 4).module for _ in range(2))
    names = carry(Run.open(run.path), model)
    # One stage at 8 px and two at 16: the stem and the first stage, which is one block here.
    assert {name.rpartition(".")[0] for name in names} == {
        "stem", "stem_norm", "blocks.0.conv1", "blocks.0.norm2", "blocks.0.conv2",
        "blocks.0.projection",
    }  # fmt: skip
    assert {"stem_norm.running_mean", "stem_norm.running_inverse"} <= set(names)
    given, was = load_file(small / "weights.safetensors"), fresh.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, given[name] if name in names else was[name])


def test_a_run_begins_with_what_it_carries_and_has_a_name_of_its_own(store, small, tmp_path):
    start = WarmStart.of(small)
    run = Run.plan(tmp_path / "carried", LARGE, store, start)
    assert json.loads((run.path / "recipe.json").read_text())["start"] == {
        "run": "small",
        "sha256": start.sha256,
    }
    digest = store.manifest.digest
    assert Run.name(LARGE, digest, start) != Run.name(LARGE, digest) == LARGE.run_name(digest)
    carried, plain = loop.finish(run), lowres.train(store, LARGE, tmp_path / "plain")
    assert carried["weights_sha256"] != plain["weights_sha256"]
    again = loop.finish(Run.plan(tmp_path / "again", LARGE, store, start))
    assert again["weights_sha256"] == carried["weights_sha256"]


def test_planning_goes_on_where_it_was_killed(store, small, tmp_path):
    start = WarmStart.of(small)
    run = Run.plan(tmp_path / "large", LARGE, store, start)
    (run.path / "initial.safetensors").unlink()
    with pytest.raises(RunError, match=r"initial\.safetensors cannot be read"):
        carry(Run.open(run.path), make_network(LARGE, 4).module)
    Run.plan(tmp_path / "large", LARGE, store, start)
    assert carry(Run.open(run.path), make_network(LARGE, 4).module)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.json.tmp").write_text("{")
    assert Run.plan(tmp_path / "other", LARGE, store).state == "planned"


def test_other_weights_are_refused(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    with pytest.raises(RunError, match="was planned differently: start was run small"):
        Run.plan(tmp_path / "large", LARGE, store)
    file = run.path / "initial.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="is damaged: it is not the weights of small"):
        loop.finish(Run.open(run.path))
    assert "is damaged" in Run.open(run.path).error()["message"]
    with pytest.raises(RunError, match=r"weights\.safetensors is missing"):
        WarmStart.of(tmp_path / "large")


def test_weights_of_which_nothing_fits_are_refused(store, small, tmp_path):
    run = Run.plan(tmp_path / "large", LARGE, store, WarmStart.of(small))
    with pytest.raises(RunError, match="no layer of its network has the same name"):
        carry(run, torch.nn.Linear(2, 2))
