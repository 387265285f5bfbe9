"""Networks of recipes: the paper's, your own, and those of timm."""

import sys
import types

import pytest
import torch
from torch import nn

import lowres
from lowres.errors import MissingExtraError, RecipeError, RunError
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.training.execution import Execution
from vision import vision

OWN = """
from torch import nn

def small(classes, size, hidden=5):
    first, last = nn.Linear(3 * size * size, hidden), nn.Linear(hidden, classes)
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(hidden), last)

def no_module(classes, size):
    return 3

def too_few(classes, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes - 1))

def other_size(classes, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3, classes))

def broken(classes, size):
    raise ValueError("no such depth")

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the working directory, as a user has it."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = ("small", "no_module", "too_few", "other_size", "broken", "number")
    lowres.trust("nowhere.at_all:net", *(f"own_networks:{name}" for name in names))
    yield
    sys.modules.pop("own_networks", None)


@pytest.mark.full
@pytest.mark.parametrize(("size", "blocks", "width"), [(16, 4, 1), (32, 2, 2)])
def test_the_formula_of_cost_is_what_torch_counts(size, blocks, width):
    from torch.utils.flop_counter import FlopCounterMode

    recipe = Recipe(variant=f"{size}-box", width=width, blocks=blocks)
    network = make_network(recipe, 7)
    with FlopCounterMode(display=False) as counter:
        network.module.eval()(torch.zeros(1, 3, size, size))
    assert network.macs == counter.get_total_flops() // 2
    assert network.parameters == sum(p.numel() for p in network.module.parameters())
    assert network.name == f"WRN-{2 * blocks * network.module.shape.stages + 4}-{width:g}"


def test_your_own_function(own, store, tmp_path):
    recipe = Recipe(variant="8-box", model="own_networks:small", epochs=2, batch_size=8, lr=0.1)
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    network = make_network(recipe, 4)
    assert network.macs == 3 * 64 * 5 + 5 * 4
    assert network.parameters == 192 * 5 + 5 + 10 + 24
    assert torch.equal(torch.random.get_rng_state(), state)
    result = lowres.train(store, recipe, tmp_path / "run", execution=Execution(device="cpu"))
    assert result["network"] == "own_networks:small"
    images = store.images("val", "8-box")
    loaded = lowres.load_network(tmp_path / "run")
    wrong = (loaded.logits(images).argmax(1).numpy() != store.labels("val")).mean()
    assert wrong == pytest.approx(result["top1_error"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("own_networks:no_module", "must return a torch.nn.Module, returned a int"),
        ("own_networks:too_few", r"must return logits of \(B, 4\) .* returned \(1, 3\)"),
        ("own_networks:other_size", r"does not take images of \(B, 3, 8, 8\)"),
        ("own_networks:broken", "cannot be made for 4 classes at 8 px: no such depth"),
        ("own_networks:small(depth=3)", r"'depth'; lowres calls it as function\(classes, size, "),
        ("own_networks:number", "has no function 'number'; it has .*small"),
        ("nowhere.at_all:net", "module nowhere.at_all cannot be imported"),
    ],
)
def test_functions_that_return_no_network(own, model, words):
    with pytest.raises(RunError, match=words):
        make_network(Recipe(variant="8-box", model=model), 4)


@pytest.mark.parametrize("name", ["resnet50", "own:", ":net", "a b:c", "a:b\n", "a..b:c", "1:2"])
def test_models_are_named_in_one_of_three_ways(name):
    with pytest.raises(
        RecipeError, match=r"model must be wrn, timm:NAME or package.module:function"
    ):
        Recipe(model=name)
    with pytest.raises(RunError, match=r"must be package.module:function, was"):
        lowres.trust(name)


def test_timm_gets_the_size_if_a_family_needs_it(monkeypatch):
    """A stub of timm, which needs a torchvision that matches torch."""

    def create_model(name, *, num_classes, in_chans, **sized):
        if name == "resnet":
            if sized:
                raise TypeError("unexpected keyword img_size")
            return nn.Sequential(
                nn.Conv2d(in_chans, 4, 3),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4, num_classes),
            )
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * sized["img_size"] ** 2, num_classes))

    names = ["resnet", "vit"]
    fake = types.SimpleNamespace(
        create_model=create_model,
        is_model=names.__contains__,
        __version__="1.0",
        list_models=lambda pattern: [n for n in names if n in pattern],
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    assert make_network(Recipe(model="timm:resnet"), 5).parameters == 4 * 27 + 4 + 25
    assert make_network(Recipe(model="timm:vit", variant="16-box"), 5).macs == 3 * 16 * 16 * 5
    with pytest.raises(RunError, match=r"timm 1.0 has no model 'vit9'; it has vit"):
        make_network(Recipe(model="timm:vit9"), 5)


def test_real_timm():
    timm = vision("timm")
    network = make_network(Recipe(model="timm:resnet18", variant="32-box"), 5)
    expected = timm.create_model("resnet18", num_classes=5)
    assert network.parameters == sum(p.numel() for p in expected.parameters())


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[timm\]"):
        make_network(Recipe(model="timm:resnet18"), 5)


def test_arguments_in_the_name_reach_your_function_and_timm(own):
    small = make_network(Recipe(variant="8-box", model="own_networks:small"), 4)
    wide = make_network(Recipe(variant="8-box", model="own_networks:small(hidden=7)"), 4)
    assert (small.name, wide.name) == ("own_networks:small", "own_networks:small(hidden=7)")
    assert wide.macs == 3 * 64 * 7 + 7 * 4
    with pytest.raises(RunError, match="unexpected keyword argument 'width'"):
        make_network(Recipe(variant="8-box", model="own_networks:small(width=7)"), 4)
    vision("timm")
    deep = make_network(Recipe(variant="32-box", model="timm:resnet18(drop_rate=0.25)"), 4)
    assert deep.module.drop_rate == 0.25
