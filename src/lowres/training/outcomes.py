"""Outcomes: which images of the split for errors a run classifies wrongly at its end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.training.compiling import BatchLoader
from lowres.training.distributed import Team


def in_rows(right: Iterable[torch.Tensor], loader: BatchLoader, team: Team) -> NDArray[np.bool_]:
    """Return what is wrong by row of the split, (N,), from what each process found.

    Args:
        right: for each batch of this process, (B,) bool: whether the highest logit is right.
        loader: what made the batches, which knows their rows.
        team: the processes that measured parts of the split.
    """
    rows = np.concatenate(list(loader.positions(0)))
    mine = torch.cat(list(right)).cpu().numpy()
    count = torch.tensor(len(rows), device=team.device)
    wrong = torch.zeros(int(team.sum(count)), dtype=torch.int32, device=team.device)
    wrong[torch.from_numpy(rows[~mine])] = 1
    return team.sum(wrong).cpu().numpy().astype(np.bool_)
