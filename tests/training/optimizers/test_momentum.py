"""The update rule against the same rule in NumPy float64, and where it differs from torch's."""

import numpy as np
import pytest
import torch

from lowres.networks.wrn import Shape, WideResNet
from lowres.training.optimizers.momentum import Momentum


def test_updates_equal_the_rule_written_out():
    random = np.random.default_rng(0)
    model = torch.nn.Linear(5, 3).double()
    optimizer = Momentum(model, momentum=0.9, weight_decay=0.01)
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
    optimizer = Momentum(ours, momentum=0.9, weight_decay=0)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for lr in (0.1, second_lr):
        reference.param_groups[0]["lr"] = lr
        for model in (ours, theirs):
            model(torch.ones(1, 2)).sum().backward()
        optimizer.step(lr)
        reference.step()
        reference.zero_grad()
    assert torch.allclose(ours.weight, theirs.weight) == alike


def test_decay_is_on_weights_and_norm_scales_only():
    model = WideResNet(Shape(16, 1, 3))
    decayed = {id(parameter) for parameter in Momentum(model, momentum=0, weight_decay=1).decayed}
    modules = [m for m in model.modules() if hasattr(m, "weight")]
    assert decayed == {id(module.weight) for module in modules}
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in modules)


def test_everything_decays_in_the_port():
    model = WideResNet(Shape(16, 1, 3))
    optimizer = Momentum(model, momentum=0, weight_decay=1, decay_on="everything")
    assert len(optimizer.decayed) == len(list(model.parameters()))
