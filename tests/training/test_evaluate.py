import numpy as np
import pytest
import torch
from torch import nn

from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.training.evaluate import evaluate


class Fixed(nn.Module):
    """Gives prepared logits, batch after batch."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.at = logits, 0

    def forward(self, images):
        self.at += len(images)
        return self.logits[self.at - len(images) : self.at]


def test_errors_equal_a_count_by_hand(store):
    loader = NumpyLoader(store, "8-box", "val", batch_size=5)
    logits = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    errors = evaluate(
        Fixed(torch.from_numpy(logits)), TorchLoader(loader), torch.device("cpu"), torch.float32
    )
    labels = store.labels("val")
    ranks = (-logits).argsort(axis=1)
    top1 = np.mean([label != rank[0] for label, rank in zip(labels, ranks, strict=True)])
    top5 = np.mean([label not in rank[:5] for label, rank in zip(labels, ranks, strict=True)])
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert errors.top1 == pytest.approx(top1)
    assert errors.top5 == pytest.approx(top5)
    assert errors.loss == pytest.approx(-log_probabilities[np.arange(12), labels].mean(), rel=1e-5)
