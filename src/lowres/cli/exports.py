"""The verbs that write a store or a study for other tools: export, publish, fid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowres.cli.app import err, out
from lowres.cli.flags import Commas, LocalPath, Output, Quiet
from lowres.errors import LowresError, require
from lowres.progress import shown, silent
from lowres.text import count, counts

if TYPE_CHECKING:
    from lowres.store.store import Store

BENCHMARK = "benchmark"
"""The one format of `export` that takes a study."""


def export(
    store: LocalPath,
    destination: LocalPath,
    /,
    *,
    to: str,
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
    quiet: Quiet = False,
) -> None:
    """Write one variant of a store in a format that other tools read, or a study as a benchmark.

    Example: lowres export store imagenet32 --to parquet --variant 32-box

    Args:
        store: The store to take images from; or a study, with --to benchmark.
        destination: What to write; it must not exist.
        to: The format. folder: PNG files as split/class/name.png. batches, batches-npz: the layout
            of the released ImageNet8/16/32/64. parquet: for Hugging Face datasets, with card and
            Croissant. webdataset: tar shards. edm: the ZIP of EDM and StyleGAN3. Other packages
            may add formats. benchmark: the results of a study as a table with search space, for
            ConfigSpace, Syne Tune and OptunaHub.
        variant: Which variant, such as 32-box; needed if the store has several.
        split: Which splits. Default: all, or train if the format holds one split.
        quiet: Show no progress.
    """
    if to == BENCHMARK:
        if variant is not None or split:
            raise LowresError("a study has no images to choose: leave --variant and --split out")
        _export_study(store, destination)
        return
    from lowres.store import export as exporter
    from lowres.store.store import open_store

    if (store / "study.json").exists():
        raise LowresError(f"{store} is a study: write it with --to {BENCHMARK}")

    opened = open_store(store)
    chosen = _chosen_variant(opened, variant)
    track = silent if quiet else shown
    written = exporter.export(opened, destination, chosen, to=to, splits=split, track=track)
    err.lines(f"note: {note}" for note in exporter.notes(opened, written, to))
    out.print(f"{destination}: {counts(written)}")


def _export_study(study: Path, destination: Path) -> None:
    from lowres.study.benchmark import export_benchmark

    found = export_benchmark(study, destination)
    if found.missing:
        runs = count(found.missing, "run")
        err.print(f"note: the grid of configurations, sizes and seeds lacks {runs}")
    out.print(
        f"{destination}: {count(len(found.configurations), 'configuration')}, sizes "
        f"{', '.join(map(str, found.sizes))} px, {count(len(found.seeds), 'seed')}, "
        f"{count(found.epochs, 'epoch')}"
    )


def publish(
    store: LocalPath,
    repository: str,
    /,
    *,
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
    public: bool = False,
    dry_run: bool = False,
    scratch: LocalPath | None = None,
    quiet: Quiet = False,
) -> None:
    """Push one variant of a store to the Hugging Face Hub, as Parquet with its card.

    A new data set is private. The licence of the original images holds for small copies, too.

    Example: lowres publish store me/animals-32 --variant 32-box --dry-run

    Args:
        store: The store to take images from.
        repository: NAME or OWNER/NAME of the data set on the Hub.
        variant: Which variant, such as 32-box; needed if the store has several.
        split: Which splits. Default: all.
        public: Let everyone see a new data set.
        dry_run: Push nothing. Write the export, and print the files that would be pushed.
        scratch: Folder for the export while it is pushed. Default: the system's temporary folder.
        quiet: Show no progress.
    """
    from lowres.store.publish import publish as push
    from lowres.store.store import open_store

    opened = open_store(store)
    found = push(
        opened, repository, _chosen_variant(opened, variant), splits=split, public=public,
        dry_run=dry_run, scratch=scratch, track=silent if quiet else shown,
    )  # fmt: skip
    if dry_run:
        for name, size in found.files.items():
            out.print(f"  {name}: {size:,} bytes")
    size_mb = sum(found.files.values()) / 1e6
    ending = "would be pushed; to push them, leave out --dry-run" if dry_run else "are pushed"
    out.print(f"{found.url}: {len(found.files)} files, {size_mb:,.1f} MB, {ending}")


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
        opened, out_file, _chosen_variant(opened, variant), network, named=Path(features).name,
        split=split, images=images, track=silent if quiet else shown,
    )  # fmt: skip
    for line in describe_fid(path):
        out.print(line)


def _chosen_variant(opened: Store, variant: str | None) -> str:
    """Return the variant that the user named, or the only one."""
    if variant is None and len(opened.variants) > 1:
        raise LowresError(
            f"{opened.path} has {', '.join(map(str, opened.variants))}: choose one, such as "
            f"--variant {opened.variants[0]}"
        )
    return variant or str(opened.variants[0])
