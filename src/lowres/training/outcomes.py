"""Outcomes: how a run classifies the images of the split for errors at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.training.compiling import BatchLoader
from lowres.training.distributed import Team

MOST_IN_RESULT = 10
"""Classes and pairs of classes in `result.json`; `classes.json` has all classes."""

MOST_PAIRS = 100
"""Pairs of classes in `classes.json`."""


def in_rows(labels: torch.Tensor, loader: BatchLoader, team: Team) -> NDArray[np.int64]:
    """Return labels by row of the split, (N,), from those of each process.

    Args:
        labels: in the order of the batches of this process, (n,) int64.
        loader: what made the batches, which knows their rows.
        team: the processes that measured parts of the split.
    """
    rows = np.concatenate(list(loader.positions(0)))
    count = torch.tensor(len(rows), device=team.device)
    whole = torch.zeros(int(team.sum(count)), dtype=torch.int64, device=team.device)
    whole[torch.from_numpy(rows)] = labels.to(team.device)
    return team.sum(whole).cpu().numpy()


def class_errors(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Return what `classes.json` holds: the errors of classes, and the pairs most often confused.

    Args:
        labels: (N,), from 0.
        predicted: (N,), the class with the highest logit.
        classes: their names, by label.

    Returns:
        `balanced_error`: the mean of the errors of classes that have images, a share. `classes`:
        name, `images` and `error` of each of these, by label. `confused`: pairs of a class and the
        one it was taken for, the largest share first, with the number of images and the share of
        its class.
    """
    images = np.bincount(labels, minlength=len(classes))
    wrong = np.bincount(labels[predicted != labels], minlength=len(classes))
    present = np.flatnonzero(images)
    errors = wrong[present] / images[present]
    pairs, counts = np.unique(
        np.stack([labels, predicted])[:, predicted != labels], axis=1, return_counts=True
    )
    shares = counts / images[pairs[0]]
    order = np.lexsort((-counts, -shares))[:MOST_PAIRS]
    return {
        "balanced_error": float(errors.mean()),
        "classes": [
            {"class": classes[label], "images": int(images[label]), "error": float(error)}
            for label, error in zip(present.tolist(), errors, strict=True)
        ],
        "confused": [
            {
                "class": classes[pairs[0, place]],
                "taken_for": classes[pairs[1, place]],
                "images": int(counts[place]),
                "share": float(shares[place]),
            }
            for place in order.tolist()
        ],
    }


def worst(classes: dict[str, Any]) -> dict[str, Any]:
    """Return the part of `classes.json` that `result.json` repeats."""
    by_error = sorted(classes["classes"], key=lambda one: -one["error"])
    return {
        "balanced_error": classes["balanced_error"],
        "worst_classes": by_error[:MOST_IN_RESULT],
        "confused_classes": classes["confused"][:MOST_IN_RESULT],
    }
