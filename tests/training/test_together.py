"""Runs that one process trains side by side end as they would alone."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch

import lowres
from hooks import hooked
from lowres.errors import RunBusyError, RunError
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.training import loop, together
from lowres.training.run import Execution, Run, RunState
from lowres.training.together import finish_all, gpu_room, packs
from lowres.work.processes import LocalProcesses
from made_runs import broken_network

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
CPU = Execution(device="cpu")
TIMES = {"train_s", "eval_s", "images_per_s", "compile_s"}


def lasting(end):
    return {name: value for name, value in end.items() if name not in TIMES}


def planned(store, folder, *recipes):
    return [Run.plan(folder / str(n), recipe, store) for n, recipe in enumerate(recipes)]


def test_a_pack_ends_as_its_runs_alone(store, tmp_path):
    """One diverges, one is finished before, and one has another length."""
    recipes = [
        TINY,
        dataclasses.replace(TINY, seed=1, lr=0.05),
        dataclasses.replace(TINY, lr=1e30),
        dataclasses.replace(TINY, epochs=2, seed=4),
    ]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    loop.finish(runs[1], execution=CPU)
    ends = loop.finish_pack(runs, execution=CPU)
    assert list(map(lasting, ends)) == list(map(lasting, alone))
    assert [run.state for run in runs][2] is RunState.DIVERGED
    assert all((run.path / "weights.safetensors").exists() for run in runs if run is not runs[2])
    for number, run in enumerate(runs):
        outcomes = Run.outcomes_in(run.path)
        assert np.array_equal(outcomes, Run.outcomes_in(tmp_path / "a" / str(number)))
        assert (outcomes is None) == (number == 2), "a run that diverged has none"


def test_an_interrupted_pack_resumes_and_the_last_are_trained_first(store, tmp_path):
    recipes = [dataclasses.replace(TINY, seed=seed) for seed in range(3)]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    taken = []

    def stop_after_eight(_count=1):
        taken.append(_count)
        if len(taken) == 8:  # in the second epoch: steps of an epoch are 6
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.finish_pack(runs[:2], execution=CPU, track=hooked(advance=stop_after_eight))
    assert [len(run.metrics()) for run in runs] == [1, 1, 0]
    said = []
    ends = loop.finish_pack(runs, execution=CPU, track=hooked(say=said.append))
    assert list(map(lasting, ends)) == list(map(lasting, alone))
    assert said[0].startswith("2: epoch 1/3"), "the others wait for the run that is behind"


def test_a_run_that_cannot_be_trained_stops_no_other(store, tmp_path):
    bad = dataclasses.replace(TINY, model="no_such_module:net")
    runs = planned(store, tmp_path, TINY, bad, dataclasses.replace(TINY, seed=1))
    with runs[2].locked():
        good, failed, busy = loop.finish_pack(runs, execution=CPU)
    assert good["status"] == "trained"
    assert isinstance(failed, RunError)
    assert runs[1].state is RunState.FAILED
    assert isinstance(busy, RunBusyError)
    assert runs[2].state is RunState.PLANNED


@pytest.mark.full
@pytest.mark.parametrize(("workers", "flags"), [(1, ()), (2, ("--together", "3"))])
def test_workers_that_share_a_study_have_the_same_results(
    store, tmp_path, monkeypatch, workers, flags
):
    """A run that fails is recorded, and stops no worker."""
    models = ("wrn", broken_network(tmp_path, monkeypatch))
    axes = [Axis("size", (8, 16)), Axis("lr", (0.01, 0.02, 1e30)), Axis("model", models)]
    study = Study.plan(tmp_path / "shared", store, TINY, axes)
    said = []
    summary = study.finish(
        LocalProcesses(workers, 1),
        ("--device", "cpu", *flags),
        workers=workers,
        track=hooked(say=said.append),
    )
    assert summary.finished == 6
    assert len(summary.failed) == 6
    assert all("cannot be made for 4 classes" in reason for reason in summary.failed.values())
    assert len(said) == 12, "one line a run"
    for run in study.runs:
        if run.finished and run.recipe.size == 8:
            alone = Run.plan(tmp_path / "alone" / run.path.name, run.recipe, store)
            expected = loop.finish(alone, execution=dataclasses.replace(CPU, threads=1))
            assert lasting(run.result()) == json.loads(json.dumps(lasting(expected)))


@pytest.mark.full
def test_a_worker_that_crashes_costs_one_run_only(store, tmp_path, monkeypatch):
    crash = "import os\ndef network(classes, size):\n    os._exit(9)\n"
    (tmp_path / "crashing.py").write_text(crash)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    axes = [Axis("model", ("wrn", "crashing:network")), Axis("seed", (0, 1))]
    study = Study.plan(tmp_path / "study", store, TINY, axes)
    lowres.trust("crashing:network")
    summary = study.finish(LocalProcesses(1, 1), ("--device", "cpu"), workers=1)
    assert summary.finished == 2
    assert len(summary.failed) == 2
    assert all("ended with status 9" in reason for reason in summary.failed.values())


def test_a_pack_holds_equal_shapes_and_lengths(store, tmp_path):
    changes = [{"seed": 1}, {"lr": 0.5}, {"epochs": 2}, {"weight_decay": 0.1}, {"width": 1.0}]
    recipes = [TINY, *(dataclasses.replace(TINY, **change) for change in changes)]
    runs = planned(store, tmp_path, *recipes)
    found = list(packs(runs, Execution(device="cpu", together=3)))
    assert [[runs.index(run) for run in pack] for pack in found] == [[0, 1, 2], [4], [3], [5]]
    assert list(map(len, packs(runs, CPU))) == [1] * 6, "the CPU trains one after another"


def test_a_pack_without_enough_memory_is_trained_run_by_run(store, tmp_path, monkeypatch):
    runs, sizes = planned(store, tmp_path, TINY, dataclasses.replace(TINY, seed=1)), []

    def finish(pack, **more):
        sizes.append(len(pack))
        full = torch.OutOfMemoryError("no memory")
        return [full] * len(pack) if len(pack) > 1 else loop.finish_pack(pack, **more)

    monkeypatch.setattr(together, "finish_pack", finish)
    ends = finish_all(runs, execution=dataclasses.replace(CPU, together=2))
    assert sizes == [2, 1, 1]
    assert [end["status"] for end in ends] == ["trained", "trained"]


def test_a_gpu_has_room_for_many_small_networks_and_for_one_large():
    assert gpu_room(TINY) == 16
    assert 2 <= gpu_room(Recipe()) <= 8, "WRN-28-2 at 32 px"
    assert gpu_room(Recipe(width=10.0)) == 1


def test_batches_that_read_their_place_from_the_device(store):
    images = NumpyLoader(store, "8-box", batch_size=7, shuffle=True, flip="both", shift_px=3)
    loader = DeviceLoader(images, torch.device("cpu"), torch.float32, resident=True)
    for epoch, first in ((0, 0), (1, 0), (5, 2), (6, 0)):
        loader.begin(epoch, first)
        for expected, labels in loader.batches(epoch, first):
            found, own = loader.next_batch()
            assert torch.equal(found, expected)
            assert torch.equal(own, labels)
