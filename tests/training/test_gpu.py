"""On a GPU: a CUDA graph and a pack change no bit, and what cannot be recorded trains without.

`make test-gpu` runs them; they skip where there is no GPU.
"""

import dataclasses

import pytest
import torch

from hooks import hooked
from lowres.recipe import Recipe, named_recipe
from lowres.training import loop, session
from lowres.training.execution import Execution
from lowres.training.run import Run, RunState

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
    assert said[0].startswith("training without a CUDA graph, which cannot be recorded: ")
    assert found == trained(store, recipe, tmp_path / "off", OFF)
