"""Runs that one process trains side by side end as they would alone."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lowres
from hooks import hooked
from images import draw_source
from lowres.errors import RunBusyError, RunError
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader
from lowres.loading.transfer import placed
from lowres.networks.shape import Shape
from lowres.networks.stacked import Stacked
from lowres.networks.wrn import WideResNet
from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.study.axes import Axis
from lowres.study.judging import judge_table
from lowres.study.results_files import read_results
from lowres.study.study import Study
from lowres.training import loop, step, together
from lowres.training.execution import Execution
from lowres.training.run import Run, RunState
from lowres.training.together import cpu_room, finish_all, gpu_room, packs
from lowres.work.processes import LocalProcesses
from made_runs import broken_network

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
CPU = Execution(device="cpu")
TIMES = {"train_s", "eval_s", "images_per_s", "compile_s", "together"}


def lasting(end):
    return {name: value for name, value in end.items() if name not in TIMES}


def assert_close(ends, alone, tolerance=1e-4):
    """Compare results up to the order of sums in float32; docs/training.md states the tolerance."""
    for end, expected in zip(ends, alone, strict=True):
        for name in ("status", "epochs", "bad_step", "parameters", "train_macs"):
            assert end[name] == expected[name]
        for name in ("train_loss", "eval_loss") if end["status"] == "trained" else ():
            assert end[name] == pytest.approx(expected[name], rel=tolerance)


def planned(store, folder, *recipes):
    return [Run.plan(folder / str(n), recipe, store) for n, recipe in enumerate(recipes)]


def test_a_pack_ends_as_its_runs_alone(store, tmp_path):
    """One diverges, one is finished before, one has another length; widths forbid stacking."""
    recipes = [
        TINY,
        dataclasses.replace(TINY, seed=1, lr=0.05),
        dataclasses.replace(TINY, lr=1e30),
        dataclasses.replace(TINY, epochs=2, seed=4),
        dataclasses.replace(TINY, width=1.0),
    ]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    loop.finish(runs[1], execution=CPU)
    ends = loop.finish_pack(runs, execution=CPU)
    assert list(map(lasting, ends)) == list(map(lasting, alone))
    assert [end["together"] for end in ends] == [4, 1, 4, 4, 4]
    assert [run.state for run in runs][2] is RunState.DIVERGED
    assert all((run.path / "weights.safetensors").exists() for run in runs if run is not runs[2])
    for number, run in enumerate(runs):
        outcomes = Run.outcomes_in(run.path)
        assert np.array_equal(outcomes, Run.outcomes_in(tmp_path / "a" / str(number)))
        assert (outcomes is None) == (number == 2), "a run that diverged has none"


VARIED = [
    TINY,
    dataclasses.replace(TINY, seed=1, lr=0.05, weight_decay=0.01),
    dataclasses.replace(TINY, lr=1e30),
    dataclasses.replace(TINY, seed=4, momentum=0.5, label_smoothing=0.1),
]


@pytest.mark.parametrize("change", [
    {}, {"variant": "16-box"}, {"optimizer": "nesterov", "norm_average": "variance"},
])  # fmt: skip
def test_stacked_runs_end_as_alone_up_to_rounding(store, tmp_path, stacks, change):
    """One diverges; seed, learning rate, weight decay, momentum and smoothing differ."""
    recipes = [dataclasses.replace(recipe, **change) for recipe in VARIED]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    ends = loop.finish_pack(runs, execution=CPU)
    assert stacks == [4, 3]
    assert_close(ends, alone)
    for run in runs:
        if run.state is RunState.TRAINED:
            a, b = (
                load_file(folder / run.path.name / "weights.safetensors")
                for folder in (tmp_path / "a", tmp_path / "b")
            )
            for name, tensor in a.items():
                assert torch.allclose(b[name], tensor, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("change", [
    {"optimizer": "muon", "lr": 0.02, "blocks": 2}, {"optimizer": "torch.optim:AdamW", "lr": 0.001},
])  # fmt: skip
def test_runs_of_any_optimizer_in_place_are_stacked(store, tmp_path, stacks, change):
    """Muon computes in bfloat16, and Adam enlarges gradients that are rounding alone."""
    recipes = [dataclasses.replace(TINY, seed=seed, epochs=2, **change) for seed in range(2)]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    assert_close(loop.finish_pack(runs, execution=CPU), alone, 0.02)
    assert stacks == [2]


@pytest.mark.full
@pytest.mark.parametrize(("precision", "images", "points"), [
    ("float32", 1, 0.5), ("bfloat16", 2, 2.0),
])  # fmt: skip
def test_the_verdict_of_a_study_does_not_depend_on_packing(tmp_path, precision, images, points):
    """Two sizes, four rates, two seeds: errors differ by few images, ends of intervals by points.

    docs/training.md states both. The proxy is the larger size, because its best rate is clear.
    """
    source = draw_source(tmp_path / "source", train=12, val=25)
    build(source, tmp_path / "store", BuildOptions(size=(8, 16), filter=("box",)))
    store = lowres.open_store(tmp_path / "store")
    axes = [Axis("size", (8, 16)), Axis("lr", (0.001, 0.01, 0.04, 0.1)), Axis("seed", (0, 1))]
    base = dataclasses.replace(TINY, epochs=2, precision=precision)
    errors, found = [], []
    for number in (1, 8):
        study = Study.plan(tmp_path / str(number), store, base, axes)
        ends = finish_all(study.runs, execution=dataclasses.replace(CPU, together=number))
        assert {end["together"] for end in ends} == {number}
        errors.append(np.array([end["top1_error"] for end in ends]))
        found.append(judge_table(read_results(study.path), "size=16", "size=8", bearable=0.05))
    assert np.ptp(errors[0]) > 0.5, "rates matter"
    assert abs(errors[0] - errors[1]).max() <= (images + 0.5) / 100, "of 100 images"
    alone, packed = found
    assert packed.choice == alone.choice
    assert packed.verdict.answer == alone.verdict.answer
    ends = [
        [one.most for one in (*judgement.verdict.shortlists, *judgement.verdict.fields)]
        for judgement in found
    ]
    assert ends[0][0] > 0.05, "an interval with an end"
    assert np.allclose(*ends, rtol=0, atol=points / 100)


@pytest.fixture
def stacks(monkeypatch):
    """How many networks each stack held."""
    counts = []

    class Counted(step.Stacked):
        def __init__(self, models):
            counts.append(len(models))
            super().__init__(models)

    monkeypatch.setattr(step, "Stacked", Counted)
    return counts


def test_an_interrupted_pack_resumes_and_the_last_are_trained_first(store, tmp_path, stacks):
    """Runs of a pack also resume alone, and one that began alone joins a pack."""
    recipes = [dataclasses.replace(TINY, seed=seed) for seed in range(4)]
    alone = [loop.finish(run, execution=CPU) for run in planned(store, tmp_path / "a", *recipes)]
    runs = planned(store, tmp_path / "b", *recipes)
    taken = []

    def stop_after_eight(_count=1):
        taken.append(_count)
        if len(taken) == 8:  # in the second epoch: steps of an epoch are 6
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.finish_pack(runs[:3], execution=CPU, track=hooked(advance=stop_after_eight))
    assert [len(run.metrics()) for run in runs] == [1, 1, 1, 0]
    assert stacks == [3]
    said = []
    first = loop.finish(runs[0], execution=CPU)
    ends = loop.finish_pack(runs[1:], execution=CPU, track=hooked(say=said.append))
    assert stacks == [3, 3]
    assert_close([first, *ends], alone)
    assert [end["together"] for end in (first, *ends)] == [3, 3, 3, 3]
    assert said[0].startswith("3: epoch 1/3"), "the others wait for the run that is behind"
    sizes = {(tmp_path / x / "1" / "checkpoint.pt").stat().st_size for x in ("a", "b")}
    assert max(sizes) < 1.1 * min(sizes), "a checkpoint holds one network of the stack"


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_numbers_that_are_not_finite_stay_in_their_network(width, precision):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = [WideResNet(Shape(8, width, 4, blocks=1)) for _ in range(3)]
        images = torch.randn(4, 9, 8, 8)
    with torch.no_grad():
        networks[1].stem.weight.fill_(torch.nan)
        networks[1].dense.weight.fill_(torch.inf)
    stacked = Stacked(networks)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = stacked(images)
    torch.autograd.backward(logits.float().sum())
    stacked.share_gradients()
    assert [bool(one.isfinite().all()) for one in logits] == [True, False, True]
    for number, network in enumerate(networks):
        finite = all(p.grad.isfinite().all() for p in network.parameters())
        assert finite == (number != 1)


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
            assert_close([run.result()], [expected])


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


def test_a_pack_holds_equal_shapes_and_lengths(store, tmp_path, monkeypatch):
    changes = [{"seed": 1}, {"lr": 0.5}, {"epochs": 2}, {"weight_decay": 0.1}, {"width": 1.0}]
    recipes = [TINY, *(dataclasses.replace(TINY, **change) for change in changes)]
    runs = planned(store, tmp_path, *recipes)
    found = list(packs(runs, Execution(device="cpu", together=3)))
    assert [[runs.index(run) for run in pack] for pack in found] == [[0, 1, 2], [4], [3], [5]]
    auto = dataclasses.replace(CPU, threads=1)
    monkeypatch.setattr(together, "available_cores", lambda: 2)
    assert list(map(len, packs(runs, auto))) == [2, 2, 1, 1], "two processes share each group"
    small = dataclasses.replace(TINY, batch_size=128, precision="bfloat16")
    assert [cpu_room(small, runs, 1) for runs in (2, 5, 9, 100)] == [1, 3, 4, 4], "512 images"
    large = Recipe(variant="8-box", width=10.0, batch_size=24)
    wide = planned(store, tmp_path / "w", large, dataclasses.replace(large, seed=1))
    assert list(map(len, packs(wide, CPU))) == [1, 1], "a wide network fills a CPU alone"


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
    device = torch.device("cpu")
    loader = DeviceLoader(images, device, torch.float32, placed(images.images, device))
    for epoch, first in ((0, 0), (1, 0), (5, 2), (6, 0)):
        loader.begin(epoch, first)
        for expected, labels in loader.batches(epoch, first):
            found, own = loader.next_batch()
            assert torch.equal(found, expected)
            assert torch.equal(own, labels)
