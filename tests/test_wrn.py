"""The network against the authors' counts, and its formulas against the modules."""

import pytest
import torch
from torch import nn

from lowres.wrn import Shape, WideResNet

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
    ("size", "stages", "name"),
    [
        (4, 1, "WRN-12-2"),
        (8, 1, "WRN-12-2"),
        (9, 2, "WRN-20-2"),
        (16, 2, "WRN-20-2"),
        (24, 3, "WRN-28-2"),
        (32, 3, "WRN-28-2"),
        (33, 4, "WRN-36-2"),
        (64, 4, "WRN-36-2"),
        (128, 5, "WRN-44-2"),
    ],
)
def test_stages_by_size(size, stages, name):
    assert Shape(size, 2, 10).stages == stages
    assert Shape(size, 2, 10).name == name


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
    model = WideResNet(Shape(size, 0.5, 3)).eval()
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
