"""Networks that turn images into features: FID's Inception as TorchScript, or your function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowres.errors import RunError
from lowres.networks.imported import imported


def feature_network(name: str, device: torch.device) -> Callable[[NDArray[np.uint8]], Any]:
    """Open a network by its file or its name.

    Args:
        name: a TorchScript file such as `inception-2015-12-05.pt` of StyleGAN2-ADA, whose network
            takes (B, 3, S, S) uint8 and `return_features=True`; or `package.module:function`, a
            function of (B, S, S, 3) uint8 arrays.
        device: where a TorchScript network computes.

    Raises:
        RunError: the file or the function does not exist, or the file is no TorchScript.
    """
    if not name.endswith(".pt"):
        if ":" not in name:
            raise RunError(f"--features must be a .pt file or package.module:function, was {name}")
        return imported(name, "features")
    if not Path(name).is_file():
        raise RunError(
            f"{name} does not exist: download inception-2015-12-05.pt of StyleGAN2-ADA, the "
            "network of EDM's and StyleGAN's FID as TorchScript"
        )
    try:
        network = torch.jit.load(name, map_location=device)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{name} must be a TorchScript file: {reason}") from error

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)
        with torch.no_grad():
            found: torch.Tensor = network(batch, return_features=True)
        return found.float().cpu().numpy()

    return features
