"""On a GPU: a CUDA graph and a pack change no bit, and what cannot be recorded trains without.

`make test-gpu` runs them; they skip where there is no GPU.
"""

import dataclasses

import numpy as np
import pytest
import torch

from hooks import hooked
from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader
from lowres.loading.transfer import Copies, placed, streamed
from lowres.networks.make import make_network
from lowres.progress import Display
from lowres.recipe import Recipe, named_recipe
from lowres.training import loop, session
from lowres.training.evaluate import Evaluation, evaluate
from lowres.training.execution import Execution
from lowres.training.run import Run, RunState
from lowres.training.step import Graph

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8)
OFF = Execution(device="cuda", compile="off", cuda_graph="off")
ON = Execution(device="cuda", compile="off", cuda_graph="on")


@pytest.fixture(autouse=True)
def fixed_algorithms(monkeypatch):
    """Two sessions that time cuDNN's algorithms may choose different ones."""

    def use(device):
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True

    monkeypatch.setattr(session, "use_gpu", use)
    # Two whole batches of val and a partial one: a graph is recorded in the second epoch.
    monkeypatch.setattr(session, "EVAL_BATCH_SIZE", 5)


PEEKING = """
import torch

class Peek(torch.nn.Linear):  # looks at a value on the host in each step
    def forward(self, images):
        logits = super().forward(images.flatten(1))
        return logits if float(logits.detach().sum()) > 0 else -logits.neg()

def network(classes, size):
    return Peek(3 * size * size, classes)
"""


def lasting(result):
    times = {"train_s", "eval_s", "images_per_s", "compile_s"}
    return {name: value for name, value in result.items() if name not in times}


def trained(store, recipe, path, execution, said=None):
    run = Run.plan(path, recipe, store)
    track = hooked(say=(said if said is not None else []).append)
    return lasting(loop.finish(run, execution=execution, track=track))


@pytest.mark.parametrize("change", [
    {}, {"optimizer": "nesterov", "flip": "random"}, {"precision": "float32"},
    dataclasses.asdict(named_recipe("fast")) | {"variant": "8-box", "width": 0.5, "blocks": 1,
                                               "epochs": 3, "batch_size": 8},
    {"optimizer": "torch.optim:AdamW"}, {"norm_average": "variance"},
])  # fmt: skip
def test_a_graph_changes_no_bit(store, tmp_path, change):
    recipe = dataclasses.replace(TINY, **change)
    said = []
    graphed = trained(store, recipe, tmp_path / "graph", ON, said)
    assert not [text for text in said if "graph" in text]
    assert graphed == trained(store, recipe, tmp_path / "eager", OFF)


def test_a_pack_changes_no_bit_and_one_that_diverges_ends_alone(store, tmp_path):
    recipes = [dataclasses.replace(TINY, seed=seed, lr=0.01 * (1 + seed)) for seed in range(20)]
    recipes[7] = dataclasses.replace(TINY, lr=1e30)
    alone = [trained(store, one, tmp_path / f"a{n}", OFF) for n, one in enumerate(recipes)]
    runs = [Run.plan(tmp_path / f"b{n}", one, store) for n, one in enumerate(recipes)]
    assert [lasting(end) for end in loop.finish_pack(runs, execution=ON)] == alone
    assert runs[7].state is RunState.DIVERGED


def test_an_interrupted_pack_resumes_to_the_same_bits(store, tmp_path):
    recipes = [dataclasses.replace(TINY, seed=seed) for seed in range(3)]
    alone = [trained(store, one, tmp_path / f"a{n}", OFF) for n, one in enumerate(recipes)]
    runs = [Run.plan(tmp_path / f"b{n}", one, store) for n, one in enumerate(recipes)]
    steps = []

    def advance(count=1):
        steps.append(count)
        if len(steps) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.finish_pack(runs, execution=ON, track=hooked(advance=advance))
    assert [lasting(end) for end in loop.finish_pack(runs, execution=ON)] == alone


def test_a_step_that_cannot_be_recorded_trains_without_a_graph(store, tmp_path, monkeypatch):
    (tmp_path / "peeking.py").write_text(PEEKING)
    monkeypatch.syspath_prepend(tmp_path)
    recipe, said = dataclasses.replace(TINY, model="peeking:network"), []
    found = trained(store, recipe, tmp_path / "on", ON, said)
    notes = [text for text in said if "without a CUDA graph, which cannot be recorded: " in text]
    assert [text.partition(" without")[0] for text in notes] == ["training", "measuring errors"]
    assert found == trained(store, recipe, tmp_path / "off", OFF)


def test_a_graph_measures_the_errors_of_single_batches(store):
    """One graph measures three networks again and again; their weights change in between."""
    device = torch.device("cuda", 0)
    images = NumpyLoader(store, "16-box", "val", batch_size=5)
    there = placed(images.images, device)
    recipe = dataclasses.replace(TINY, variant="16-box")
    evaluations = []
    for seed in range(3):
        network = make_network(dataclasses.replace(recipe, seed=seed), len(store.classes)).module
        network.to(device).to(memory_format=torch.channels_last)
        loader = DeviceLoader(images, device, torch.bfloat16, there)
        evaluations.append(Evaluation(network, loader, device, torch.bfloat16))
    graph = Graph(evaluations, device, Display(), "measuring errors")
    for _ in range(4):
        expected = evaluate(evaluations)
        for found, one in zip(evaluate(evaluations, graph), expected, strict=True):
            assert (found.top1, found.top5, found.loss) == (one.top1, one.top5, one.loss)
            assert torch.equal(found.predicted, one.predicted)
            assert torch.equal(found.labels, one.labels)
        with torch.no_grad():
            for one in evaluations:
                for weight in one.model.parameters():
                    weight.mul_(1.5)
    assert graph.graph is not None


@pytest.mark.parametrize("busy", [False, True])
def test_streamed_batches_are_whole_while_the_gpu_is_busy(busy):
    """Each batch is read twice around long work: a copy that came too early would show."""
    device = torch.device("cuda", 0)
    images = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), np.uint8)
    rows = np.random.default_rng(1).permutation(len(images))
    bounds = [(start, start + 128) for start in range(0, len(images), 128)]
    work = torch.randn(4096, 4096, device=device)
    sums, expected = [], []
    for (start, stop), batch in zip(
        bounds, streamed(images, rows, bounds, Copies(device)), strict=True
    ):
        first = batch.long().sum((1, 2, 3))
        if busy:
            for _ in range(20):
                work = (work @ work).clamp(-1, 1)
        sums.append((first, batch.long().sum((1, 2, 3))))
        expected.append(images[rows[start:stop]].astype(np.int64).sum((1, 2, 3)))
        del batch
    for (first, last), own in zip(sums, expected, strict=True):
        assert np.array_equal(first.cpu(), own)
        assert np.array_equal(last.cpu(), own)


def test_streamed_and_resident_runs_have_the_same_bits(store, tmp_path):
    ends = [
        trained(store, TINY, tmp_path / loading, dataclasses.replace(OFF, loading=loading))
        for loading in ("resident", "streamed")
    ]
    assert ends[0] == ends[1]


def test_images_take_their_part_of_a_gpu_that_is_free():
    device = torch.device("cuda", 0)
    images = np.arange(64 * 8 * 8 * 3, dtype=np.uint8).reshape(64, 8, 8, 3)
    assert placed(images, device, share=0.0) is None
    assert np.array_equal(placed(images, device).cpu(), images)
    assert np.array_equal(placed(images, device, share=float("inf")).cpu(), images)
