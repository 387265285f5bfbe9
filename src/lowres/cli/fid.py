"""The verb fid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lowres.cli.app import STORES, app, out
from lowres.cli.flags import LocalPath, Output, Quiet
from lowres.cli.stores import chosen_variant
from lowres.errors import require
from lowres.progress import shown, silent


@app.command(group=STORES)
def fid(
    store: LocalPath,
    /,
    *,
    features: str,
    variant: str | None = None,
    split: str = "train",
    images: int = 0,
    device: str = "auto",
    out_file: Annotated[Path, Output] = Path("fid.npz"),
    quiet: Quiet = False,
) -> None:
    """Write the reference statistics of FID for one variant, as EDM and ADM read them.

    Example: lowres fid store --variant 64-bicubic-adm --features inception-2015-12-05.pt

    Args:
        store: The store to take images from.
        features: The network: inception-2015-12-05.pt of StyleGAN2-ADA, which you download, or
            package.module:function, a function of (B, S, S, 3) uint8 arrays that returns (B, D)
            features, or a pair of pooled and spatial ones.
        variant: Which variant; needed if the store has several.
        split: Which split; all its images take part.
        images: Add this many images as arr_0; ADM's evaluator needs 10000, and spatial features.
        device: auto, cpu, cuda or cuda:N.
        out_file: The .npz file to write, with mu, sigma and the content hash.
        quiet: Show no progress.
    """
    require("torch", "train")
    from lowres.comparing.fid import describe_fid, fid_statistics
    from lowres.networks.features import feature_network
    from lowres.store.store import open_store
    from lowres.training.device import choose_device

    opened = open_store(store)
    network = feature_network(features, choose_device(device))
    path = fid_statistics(
        opened, out_file, chosen_variant(opened, variant), network, named=Path(features).name,
        split=split, images=images, track=silent if quiet else shown,
    )  # fmt: skip
    for line in describe_fid(path):
        out.print(line)
