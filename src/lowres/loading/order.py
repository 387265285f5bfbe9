"""Which rows make up the batches of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shuffled(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Permute the rows 0 to count - 1 for one epoch.

    `RandomState` and not `Generator`, because NumPy promises its streams never to change.

    Returns:
        (count,) int64.
    """
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))
    return state.permutation(count).astype(np.int64)
