"""The network against the authors' counts, and its formulas against the modules."""

import numpy as np
import pytest
import torch
from torch import nn

from lowres.networks.norms import InverseDeviationNorm
from lowres.networks.shape import Shape
from lowres.networks.wrn import Block, Details, Projection, WideResNet
from lowres.recipe import Recipe, named_recipe

# Trainable parameters as the authors' script prints them, for 1,000 classes; those of WRN-28-2,
# -5, -10 and WRN-36-2, -5 are also the paper's, to the digits it prints.
AUTHORS_PARAMETERS = {
    (16, 0.5): 40_664, (16, 1): 122_744, (16, 2): 415_544, (16, 3): 879_864,
    (16, 5): 2_323_064, (16, 7): 4_452_344, (16, 10): 8_932_664,
    (32, 0.5): 126_936, (32, 1): 434_552, (32, 2): 1_596_216, (32, 3): 3_486_456,
    (32, 5): 9_452_664, (32, 7): 18_333_176, (32, 10): 37_118_264,
    (64, 0.5): 438_744, (64, 1): 1_615_224, (64, 2): 6_185_784, (64, 3): 13_713_144,
    (64, 5): 37_638_264, (64, 7): 73_390_584, (64, 10): 149_195_064,
}  # fmt: skip


@pytest.mark.parametrize(("size", "width"), AUTHORS_PARAMETERS)
def test_parameters_are_the_authors(size, width):
    shape = Shape(size, width, 1000)
    assert shape.parameters() == AUTHORS_PARAMETERS[size, width]
    with torch.device("meta"):
        model = WideResNet(shape)
    assert sum(p.numel() for p in model.parameters()) == AUTHORS_PARAMETERS[size, width]


@pytest.mark.parametrize(
    ("size", "script", "to_8px"),
    [(4, 2, 1), (8, 2, 1), (9, 2, 2), (16, 2, 2), (24, 2, 3), (31, 2, 3), (32, 3, 3), (33, 3, 4),
     (48, 3, 4), (63, 3, 4), (64, 4, 4), (65, 4, 5), (128, 4, 5)],
)  # fmt: skip
def test_stages_by_size(size, script, to_8px):
    """Of the authors' script: 2 below 32 px, 3 from 32 px, 4 from 64 px."""
    for rule, stages in (("script", script), ("to-8px", to_8px)):
        shape = Shape.of(Recipe(variant=f"{size}-box", stages=rule), 10)
        assert shape.stages == stages
        assert shape.name == f"WRN-{8 * stages + 4}-2"
        module = WideResNet.of(Recipe(variant=f"{size}-box", stages=rule, blocks=1, width=0.5), 10)
        assert module.shape.stages == stages


@pytest.mark.parametrize(("size", "blocks"), [(8, 4), (16, 4), (24, 2), (32, 1), (30, 3), (64, 4)])
def test_formulas_count_the_modules(size, blocks):
    shape = Shape(size, 1.5, 7, blocks)
    model = WideResNet(shape).eval()
    assert sum(p.numel() for p in model.parameters()) == shape.parameters()
    counted = []

    def count(module, _inputs, output):
        per_output = module.weight[0].numel()
        counted.append(per_output * output[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    logits = model(torch.zeros(1, 3, size, size))
    assert logits.shape == (1, 7)
    assert sum(counted) == shape.macs()


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_last_map_is_8_by_8(size):
    model = WideResNet(Shape(size, 0.5, 3, stage_rule="to-8px")).eval()
    assert model.blocks(model.stem(torch.zeros(1, 3, size, size))).shape[2:] == (8, 8)


def test_quirks_of_the_authors_network():
    model = WideResNet(Shape(16, 1, 10))
    first, second, *_ = model.blocks
    assert first.norm1 is None
    assert first.projection is not None, "even where 16 channels meet 16"
    assert first.conv1.bias is None
    assert first.conv2.bias is not None
    assert second.projection is None
    assert second.norm1.eps == 1e-4
    assert [block.conv1.stride[0] for block in model.blocks] == [1, 1, 1, 1, 2, 1, 1, 1]


def test_initial_weights():
    torch.manual_seed(0)
    model = WideResNet(Shape(16, 8, 100))
    block = model.blocks[5]
    fan_in = block.conv1.weight[0].numel()
    assert block.conv1.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert model.dense.weight.std().item() == pytest.approx((1 / 256) ** 0.5, rel=0.02)
    projection = model.blocks[4].projection.weight
    assert projection.abs().max().item() <= (6 / (128 + 256)) ** 0.5
    assert block.conv2.bias.abs().max() == model.dense.bias.abs().max() == 0


def convolved(images, weight, bias, stride):
    """Cross-correlate (B, C, H, W) float64 with (K, C, k, k), padded to keep its size."""
    pad = weight.shape[2] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    out = np.einsum("bchwij,kcij->bkhw", windows, weight)
    return out if bias is None else out + bias[:, None, None]


def normalised(images, scale, shift):
    mean = images.mean(axis=(0, 2, 3))
    inverse = 1 / np.sqrt(images.var(axis=(0, 2, 3)) + 1e-4)
    column = np.s_[:, None, None]
    out = (images - mean[column]) * (inverse * scale)[column] + shift[column]
    return np.maximum(out, 0), mean, inverse


def as_numpy(module):
    return {n: t.detach().double().numpy() for n, t in module.state_dict().items()}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("projection_of", ["input", "activation"])
def test_a_block_equals_the_same_in_numpy(first, projection_of):
    """In float64, written out from the description of the authors' network."""
    torch.manual_seed(3)
    details = Details(projection_of=projection_of)
    block = Block(5, 7, stride=2, first=first, project=True, details=details).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = np.random.default_rng(1).normal(1, 2, (4, 5, 8, 8))
    w = as_numpy(block)
    active = x
    if not first:
        active, mean, inverse = normalised(x, w["norm1.weight"], w["norm1.bias"])
    hidden = convolved(active, w["conv1.weight"], None, 2)
    hidden, _, _ = normalised(hidden, w["norm2.weight"], w["norm2.bias"])
    hidden = convolved(hidden, w["conv2.weight"], w["conv2.bias"], 1)
    seen = active if projection_of == "activation" else x
    expected = hidden + convolved(seen, w["projection.weight"], None, 2)
    ours = block(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
    if not first:
        after = as_numpy(block)
        np.testing.assert_allclose(after["norm1.running_mean"], 0.1 * mean, rtol=1e-5)
        np.testing.assert_allclose(after["norm1.running_inverse"], 0.9 + 0.1 * inverse, rtol=1e-5)


@pytest.mark.parametrize("channels", [4, 8, 15, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_a_narrow_projection(channels, dtype):
    """Of 64 x 64 images in channels-last memory: oneDNN's own gradient ended the process here."""
    images = torch.randn(16, channels, 64, 64).contiguous(memory_format=torch.channels_last)
    projection = Projection(channels, 2 * channels, 2).to(memory_format=torch.channels_last)
    for _ in range(4):
        projection.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = projection(images)
        out.float().square().sum().backward()
    weight = projection.weight.detach().double()[:, :, 0, 0]
    seen = images.double()[:, :, ::2, ::2]
    expected = 2 * torch.einsum("bohw,bihw->oi", torch.einsum("oi,bihw->bohw", weight, seen), seen)
    error = (projection.weight.grad.double()[:, :, 0, 0] - expected).norm() / expected.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-2)


def test_evaluation_uses_the_average_of_inverse_deviations():
    random = np.random.default_rng(0)
    norm = InverseDeviationNorm(3).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    mean, inverse = np.zeros(3), np.ones(3)
    for scale in (0.1, 5.0, 1.0):
        x = random.normal(2, scale, (6, 3, 4, 4))
        norm(torch.from_numpy(x))
        mean = 0.9 * mean + 0.1 * x.mean(axis=(0, 2, 3))
        inverse = 0.9 * inverse + 0.1 / np.sqrt(x.var(axis=(0, 2, 3)) + 1e-4)
    norm.eval()
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    expected = (x - mean[:, None, None]) * (inverse * weight)[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(norm(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-6)


def test_inverse_deviation_norm_trains_as_torchs_does():
    ours, theirs = InverseDeviationNorm(4), nn.BatchNorm2d(4, eps=1e-4)
    x = torch.randn(8, 4, 5, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ours(x).square().sum().backward()
    theirs(y).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours.eval()(x.bfloat16()).dtype == torch.bfloat16


def test_networks_of_recipes():
    paper = WideResNet.of(Recipe(variant="16-box", width=1), 10)
    assert isinstance(paper.norm, InverseDeviationNorm)
    assert paper.blocks[0].conv2.bias is not None
    port = WideResNet.of(named_recipe("tensorflow-port"), 10)
    assert type(port.norm) is nn.BatchNorm2d
    assert all(block.conv2.bias is None for block in port.blocks)
    assert sum(p.numel() for p in port.parameters()) == port.shape.parameters()
    assert not any(block.projects_input for block in port.blocks)
