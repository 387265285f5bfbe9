"""Train a network of your own, and load its weights again.

    python examples/own_network.py STORE RUN

In this folder the command line takes the same name: lowres train STORE --model own_network:small
"""

import sys

from torch import nn

import lowres


def small(classes: int, size: int) -> nn.Module:
    """Return a network from (B, 3, size, size) float32 to (B, classes) logits."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * (size // 2) ** 2, classes),
    )


if __name__ == "__main__":
    lowres.trust("own_network:small")  # a recipe runs no code that you have not named
    store = lowres.open_store(sys.argv[1])
    recipe = lowres.Recipe(variant="8-box", model="own_network:small", epochs=2, batch_size=16)
    result = lowres.train(store, recipe, sys.argv[2])
    print(f"top-1 error {result['top1_error']:.3f} with {result['parameters']:,} parameters")
    network = lowres.load_network(sys.argv[2])
    logits = network.logits(store.images("val", "8-box")[:4])
    print("logits:", tuple(logits.shape))
