"""Optimizers against the same rules written out in NumPy, or against torch's own."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

import lowres
from hooks import interrupted_after
from lowres.errors import RunError
from lowres.networks.imported import trust
from lowres.networks.shape import Shape
from lowres.networks.wrn import WideResNet
from lowres.recipe import Recipe
from lowres.training.distributed import Team
from lowres.training.execution import Execution
from lowres.training.loop import finish
from lowres.training.optimizers import (
    ADAM_BETAS,
    Momentum,
    Muon,
    decayed_names,
    make_optimizer,
    matrix_names,
    orthogonalised,
)
from lowres.training.run import Run
from lowres.training.session import open_session
from lowres.training.together import finish_all

CPU = Execution(device="cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        *(torch.nn.Linear(a, b) for a, b in ((4, 6), (6, 3), (3, 8), (8, 2)))
    )


def train(model, step, count=4):
    """Take steps on a loss whose gradients change; return the weights."""
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    for number in range(count):
        (model(inputs) ** 2).sum().backward()
        step(number)
    return [p.detach().clone() for p in model.parameters()]


def test_updates_equal_the_rule_written_out():
    random = np.random.default_rng(0)
    model = torch.nn.Linear(5, 3).double()
    optimizer = Momentum(model, Recipe(momentum=0.9, weight_decay=0.01))
    weight = model.weight.detach().numpy().copy()
    bias = model.bias.detach().numpy().copy()
    weight_velocity, bias_velocity = np.zeros_like(weight), np.zeros_like(bias)
    for lr in (0.1, 0.1, 0.02, 0.02):
        weight_gradient, bias_gradient = random.normal(size=(3, 5)), random.normal(size=3)
        model.weight.grad = torch.from_numpy(weight_gradient.copy())
        model.bias.grad = torch.from_numpy(bias_gradient.copy())
        optimizer.step(lr)
        weight_velocity = 0.9 * weight_velocity - lr * (weight_gradient + 0.01 * weight)
        bias_velocity = 0.9 * bias_velocity - lr * bias_gradient
        weight, bias = weight + weight_velocity, bias + bias_velocity
        np.testing.assert_allclose(model.weight.detach().numpy(), weight, rtol=1e-12)
        np.testing.assert_allclose(model.bias.detach().numpy(), bias, rtol=1e-12)
    assert model.weight.grad is None


@pytest.mark.parametrize(("second_lr", "alike"), [(0.1, True), (0.02, False)])
def test_torchs_rule_differs_only_after_a_drop(second_lr, alike):
    ours, theirs = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Momentum(ours, Recipe(momentum=0.9, weight_decay=0.0))
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for lr in (0.1, second_lr):
        reference.param_groups[0]["lr"] = lr
        for model in (ours, theirs):
            model(torch.ones(1, 2)).sum().backward()
        optimizer.step(lr)
        reference.step()
        reference.zero_grad()
    assert torch.allclose(ours.weight, theirs.weight) == alike


def test_decay_is_on_weights_and_norm_scales_or_on_everything():
    model = WideResNet(Shape(16, 1, 3))
    parameters = dict(model.named_parameters())
    some = {id(parameters[name]) for name in decayed_names(model, "weights-and-scales")}
    modules = [m for m in model.modules() if hasattr(m, "weight")]
    assert some == {id(module.weight) for module in modules}
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in modules)
    assert decayed_names(model, "everything") == set(parameters)


def test_nesterov_is_lasagnes_rule_written_out():
    random = np.random.default_rng(0)
    model = torch.nn.Linear(5, 3, bias=False).double()
    optimizer = Momentum(model, Recipe(optimizer="nesterov", weight_decay=0.01))
    weight = model.weight.detach().numpy().copy()
    velocity = np.zeros_like(weight)
    for lr in (0.1, 0.1, 0.02):
        gradient = random.normal(size=(3, 5))
        model.weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step(lr)
        decayed = gradient + 0.01 * weight
        velocity = 0.9 * velocity - lr * decayed
        weight = weight + 0.9 * velocity - lr * decayed
        np.testing.assert_allclose(model.weight.detach().numpy(), weight, rtol=1e-12)


def test_hidden_matrices_are_all_but_the_first_and_the_last():
    names = matrix_names(WideResNet(Shape(8, 1, 3, 1, stage_rule="to-8px")))
    assert names == {"blocks.0.conv1.weight", "blocks.0.conv2.weight", "blocks.0.projection.weight"}


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 4, 9), (1, 9, 4)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices).float())
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    alike = torch.nn.functional.cosine_similarity(
        orthogonalised(matrices).float().flatten(1), (u @ v).flatten(1)
    )
    assert alike.min() > 0.97
    assert not orthogonalised(torch.zeros(1, 3, 4)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_matrices_move_as_torchs_muon_moves_them():
    ours, theirs = network(), network()
    optimizer = Muon(ours, Recipe(optimizer="muon", lr=0.02, adam_lr=0.005, weight_decay=0.0), 1)
    hidden = [theirs[1].weight, theirs[2].weight]
    reference = torch.optim.Muon(hidden, lr=0.02, momentum=0.9, weight_decay=0.0, nesterov=True)
    rest = [p for p in theirs.parameters() if all(p is not h for h in hidden)]
    adam = torch.optim.Adam(rest, lr=0.005, betas=ADAM_BETAS, eps=1e-10)

    random = torch.Generator().manual_seed(0)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        own.grad = torch.randn(own.shape, generator=random)
        other.grad = own.grad.clone()
    start = [p.detach().clone() for p in ours.parameters()]
    optimizer.step(0.02)
    reference.step()
    adam.step()
    for before, own, other in zip(start, ours.parameters(), theirs.parameters(), strict=True):
        of_muon = any(other is matrix for matrix in hidden)
        rounding = 0.05 * 0.02 if of_muon else 1e-6  # iterations in bfloat16
        assert torch.allclose(own, other, atol=rounding), (own - other).abs().max()
        assert (own - before).abs().max() > 0.004


def test_the_decay_of_a_run_does_not_depend_on_its_rates():
    for lr, cooldown, steps in ((0.1, 1.0, 3), (0.5, 0.0, 1)):
        model = network()
        before = [p.detach().clone() for p in model.parameters()]
        recipe = Recipe(optimizer="muon", lr=lr, cooldown=cooldown, lr_drop_at=(), weight_decay=0.7)
        optimizer = Muon(model, recipe, steps)
        for step in range(steps):
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step(recipe.learning_rate(step, steps))
        for start, parameter in zip(before, model.parameters(), strict=True):
            expected = start * np.exp(-0.7) if parameter.ndim == 2 else start
            assert torch.allclose(parameter, expected, atol=1e-6)


def test_an_optimizer_of_torch_by_its_name():
    ours, theirs = network(), network()
    recipe = Recipe(optimizer="torch.optim:AdamW", lr=0.01, weight_decay=0.1)
    optimizer = make_optimizer(recipe, ours, 4)
    biases = [p for p in theirs.parameters() if p.ndim == 1]
    weights = [p for p in theirs.parameters() if p.ndim == 2]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01)

    def step(number):
        for group in reference.param_groups:
            group["lr"] = 0.01 / (number + 1)
        reference.step()
        theirs.zero_grad()

    mine = train(ours, lambda number: optimizer.step(0.01 / (number + 1)))
    for own, other in zip(mine, train(theirs, step), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "muon", "torch.optim:AdamW"])
def test_a_loaded_state_continues(name):
    recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.1)
    whole, first, second = network(), network(), network()
    optimizer = make_optimizer(recipe, whole, 4)
    expected = train(whole, lambda _: optimizer.step(0.01), 4)
    before = make_optimizer(recipe, first, 4)
    train(first, lambda _: before.step(0.01), 2)
    second.load_state_dict(first.state_dict())
    after = make_optimizer(recipe, second, 4)
    after.load(before.state())
    for own, other in zip(train(second, lambda _: after.step(0.01), 2), expected, strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "muon"])
def test_parameters_without_gradient_stay(name):
    model = network()
    model.unused = torch.nn.Linear(3, 3)
    frozen = model[1].weight.requires_grad_(False)
    kept, at = model.unused.weight.detach().clone(), frozen.detach().clone()
    optimizer = make_optimizer(Recipe(optimizer=name, lr=0.01, weight_decay=0), model, 3)
    moved = model[2].weight.detach().clone()
    for _ in range(3):
        (model[:4](torch.ones(2, 4)) ** 2).sum().backward()
        optimizer.step(0.01)
    assert torch.equal(model.unused.weight, kept)
    assert torch.equal(frozen, at)
    assert not torch.equal(model[2].weight, moved)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such:thing", "optimizer no.such:thing: module no.such cannot be imported"),
        ("torch.optim:Adamw", "torch.optim has no function 'Adamw'; it has .*AdamW"),
        ("builtins:dict", "must make a torch.optim.Optimizer, made a dict|does not take"),
        ("torch.nn:Linear", "does not take parameter groups and lr"),
        ("torch.optim:LBFGS", "torch.optim:LBFGS has no weight decay: add --weight-decay 0"),
        ("torch.optim:Rprop", "torch.optim:Rprop has no weight decay: add --weight-decay 0"),
    ],
)
def test_names_that_make_no_optimizer(name, words):
    trust(name)
    with pytest.raises(RunError, match=words):
        make_optimizer(Recipe(optimizer=name), network(), 4)


OWN = """
import torch

def lbfgs(groups, lr):
    return torch.optim.LBFGS([p for g in groups for p in g["params"]], lr=lr, max_iter=4)

class Sharpness(torch.optim.SGD):  # SAM (Foret et al. 2021)
    def step(self, closure):
        closure()
        parameters = [p for g in self.param_groups for p in g["params"]]
        moves = [0.01 * p.grad / (p.grad.norm() + 1e-12) for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, moves)
        closure()
        with torch.no_grad():
            torch._foreach_sub_(parameters, moves)
        super().step()
"""


@pytest.fixture
def own_optimizers(tmp_path, monkeypatch):
    (tmp_path / "own_optimizers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    trust("own_optimizers:lbfgs", "own_optimizers:Sharpness")


@pytest.mark.parametrize("name", ["torch.optim:LBFGS(max_iter=4)", "own_optimizers:lbfgs"])
def test_a_step_of_lbfgs_is_that_of_torch(own_optimizers, name):
    recipe = Recipe(optimizer=name, weight_decay=0)
    ours, theirs = network(), network()
    optimizer = make_optimizer(recipe, ours, 4)
    reference = torch.optim.LBFGS(theirs.parameters(), max_iter=4)
    inputs, calls = torch.ones(2, 4), []

    def closure(model):
        calls.append(model)
        loss = (model(inputs) ** 2).sum()
        loss.backward()
        return loss

    def afresh():
        reference.zero_grad()
        return closure(theirs)

    assert optimizer.needs_closure
    for lr in (0.1, 0.05):
        optimizer.step(lr, lambda: closure(ours))
        reference.param_groups[0]["lr"] = lr
        reference.step(afresh)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, other)
        assert own.grad is None
    assert len(calls) > 4, "several losses a step"


def test_a_function_that_makes_an_optimizer_of_torch_without_decay(own_optimizers):
    with pytest.raises(RunError, match="own_optimizers:lbfgs has no weight decay: add --weight"):
        make_optimizer(Recipe(optimizer="own_optimizers:lbfgs"), network(), 4)


def resumed(store, recipe, folder):
    """Train a run at once, and again with an interruption; return the first result and the run."""
    whole = lowres.train(store, recipe, folder / "whole", execution=CPU)
    run = Run.plan(folder / "run", recipe, store)
    with pytest.raises(KeyboardInterrupt):
        finish(run, execution=CPU, track=interrupted_after(2))
    assert finish(run, execution=CPU)["weights_sha256"] == whole["weights_sha256"]
    return whole, run


@pytest.mark.parametrize("name", ["torch.optim:LBFGS(max_iter=3)", "own_optimizers:Sharpness"])
def test_a_run_whose_optimizer_needs_a_closure_resumes(own_optimizers, store, tmp_path, name):
    recipe = Recipe(
        variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32",
        optimizer=name, weight_decay=0, lr=0.05,
    )  # fmt: skip
    whole, _ = resumed(store, recipe, tmp_path)
    assert whole["status"] == "trained"
    two = [Run.plan(tmp_path / f"pack-{n}", recipe, store) for n in range(2)]
    ends = finish_all(two, execution=dataclasses.replace(CPU, together=2))
    assert [end["weights_sha256"] for end in ends] == [whole["weights_sha256"]] * 2


def test_a_closure_in_a_cuda_graph_or_several_processes_is_refused(store, tmp_path):
    recipe = Recipe(variant="8-box", batch_size=8, optimizer="torch.optim:LBFGS", weight_decay=0)
    graph = dataclasses.replace(CPU, cuda_graph="on")
    with pytest.raises(RunError, match="LBFGS computes the loss several times in a step: train it"):
        lowres.train(store, recipe, tmp_path / "graph", execution=graph)
    run = Run.plan(tmp_path / "team", recipe, store)
    with (
        pytest.raises(RunError, match="in one process, and without --cuda-graph on"),
        open_session(run, store, CPU, team=Team(rank=0, size=2)),
    ):
        pass


def test_schedule_free_itself_trains_and_resumes(store, tmp_path):
    """The published network is the average that was evaluated."""
    pytest.importorskip("schedulefree")
    trust("schedulefree:AdamWScheduleFree")
    recipe = Recipe(
        variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32",
        optimizer="schedulefree:AdamWScheduleFree(warmup_steps=3)", schedule="constant", lr=0.01,
    )  # fmt: skip
    whole, run = resumed(store, recipe, tmp_path)
    network = lowres.load_network(run.path)
    wrong = network.logits(store.images("val", "8-box")).argmax(1).numpy() != store.labels("val")
    assert wrong.mean() == pytest.approx(whole["top1_error"])


def test_arguments_in_the_name_reach_the_optimizer():
    recipe = Recipe(optimizer="torch.optim:AdamW(betas=(0.8, 0.9), eps=1e-6)", weight_decay=0.1)
    made = make_optimizer(recipe, network(), 4).optimizer
    assert [group["betas"] for group in made.param_groups] == [(0.8, 0.9)] * 2
    assert [group["weight_decay"] for group in made.param_groups] == [0.1, 0.0]
    recipe = Recipe(optimizer="torch.optim:SGD(momentum=0.95, nesterov=True)")
    assert make_optimizer(recipe, network(), 4).optimizer.defaults["momentum"] == 0.95


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("lr=0.1", "must not set lr, a field of the recipe: use --lr"),
        ("weight_decay=0.1", "must not set weight_decay, .* use --weight-decay"),
        ("bettas=(0.8, 0.9)", "unexpected keyword argument 'bettas'"),
        ("betas=(0.8, 1.9)", "Invalid beta parameter"),
    ],
)
def test_arguments_that_an_optimizer_does_not_take(arguments, words):
    with pytest.raises(RunError, match=words):
        make_optimizer(Recipe(optimizer=f"torch.optim:AdamW({arguments})"), network(), 4)
