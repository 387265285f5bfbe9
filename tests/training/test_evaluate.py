"""Evaluations that a CUDA graph can repeat have the errors of others; the graph is a fake one."""

import dataclasses

import pytest
import torch

from hooks import hooked, interrupted_after
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader
from lowres.loading.transfer import placed
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training import loop, session, step
from lowres.training.evaluate import Evaluation, evaluate
from lowres.training.execution import Execution
from lowres.training.run import Run, RunState

CPU = torch.device("cpu")
TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
ON = Execution(device="cpu", cuda_graph="on", compile="off")
TIMES = {"train_s", "eval_s", "images_per_s", "compile_s", "together"}


@pytest.fixture
def gpu(monkeypatch):
    """Let the CPU keep images as a GPU does, and return the graphs that were made."""
    graphs = []

    class Graph:
        def __init__(self, functions, _device, _display, doing="training"):
            self.functions, self.calls = functions, 0
            graphs.append((doing, self))

        def __call__(self):
            self.calls += 1
            for function in self.functions:
                function()

    def on_device(loader, device, precision, _loading, shared):
        key = str(loader.images.filename)
        shared[key] = shared[key] if key in shared else placed(loader.images, device)
        return DeviceLoader(loader, device, precision, shared[key])

    monkeypatch.setattr(DeviceLoader, "on_gpu", property(lambda self: self.stored is not None))
    monkeypatch.setattr(session, "_on_device", on_device)
    monkeypatch.setattr(step, "Graph", Graph)
    monkeypatch.setattr(loop, "Graph", Graph)
    return graphs


@pytest.mark.parametrize("batch_size", [1, 5, 12, 20])
def test_batches_from_the_device_have_the_errors_of_others(store, gpu, batch_size):
    """Val has 12 images: the last batch is partial, or missing, or the only one."""
    images = NumpyLoader(store, "8-box", "val", batch_size=batch_size)
    network = make_network(TINY, len(store.classes)).module
    sent, kept = (
        Evaluation(network, DeviceLoader(images, CPU, torch.float32, stored), CPU, torch.float32)
        for stored in (None, placed(images.images, CPU))
    )
    assert (sent.whole, kept.whole) == (0, 12 // batch_size)
    [expected] = evaluate([sent])
    for take in (None, kept, kept):  # it begins anew each time
        [found] = evaluate([kept], take)
        assert (found.top1, found.top5) == (expected.top1, expected.top5)
        assert found.loss == pytest.approx(expected.loss, rel=1e-6)
        assert torch.equal(found.labels, torch.from_numpy(store.labels("val")))
        assert torch.equal(found.predicted, expected.predicted)


def lasting(end):
    return {name: value for name, value in end.items() if name not in TIMES}


def test_a_pack_on_a_device_is_measured_by_one_graph(store, tmp_path, gpu, monkeypatch):
    """One run diverges and leaves the graph, and a run that is interrupted resumes."""
    monkeypatch.setattr(session, "EVAL_BATCH_SIZE", 5)
    recipes = [dataclasses.replace(TINY, seed=seed, lr=lr) for seed, lr in enumerate((0.1, 1e30))]
    recipes.append(dataclasses.replace(TINY, seed=4))
    plan = [
        [Run.plan(tmp_path / name / str(n), one, store) for n, one in enumerate(recipes)]
        for name in "ab"
    ]
    off = dataclasses.replace(ON, cuda_graph="off")
    alone = [lasting(loop.finish(run, execution=off)) for run in plan[0]]
    assert not gpu
    ends = loop.finish_pack(plan[1], execution=ON)
    assert list(map(lasting, ends)) == alone
    assert plan[1][1].state is RunState.DIVERGED
    made = [(doing, len(graph.functions), graph.calls) for doing, graph in gpu]
    assert made == [
        ("training", 3, 6),
        ("measuring errors", 2, 3 * 2),
        ("training", 2, 2 * 6),
    ]
    run = Run.plan(tmp_path / "c", recipes[0], store)
    with pytest.raises(KeyboardInterrupt):
        loop.finish(run, execution=ON, track=interrupted_after(2))
    assert lasting(loop.finish(run, execution=ON, track=hooked())) == alone[0]
