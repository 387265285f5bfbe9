"""The verbs of finished stores: verify, check, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lowres.cli.app import out
from lowres.cli.flags import Commas, LocalPath, Output, Quiet
from lowres.errors import LowresError
from lowres.progress import Track, shown, silent
from lowres.text import command


def verify(
    path: LocalPath,
    /,
    *,
    against: LocalPath | None = None,
    variant: str | None = None,
    split: Annotated[tuple[str, ...], Commas] = (),
    out_file: Annotated[Path | None, Output] = None,
    quiet: Quiet = False,
) -> int:
    """Check a store by its checksums, or compare it with another set, image by image in any order.

    Exit status 0: the store is whole, or both sets have the same images in the same classes. 1: the
    store is damaged, or the sets differ.

    Example: lowres verify store --against Imagenet32_train

    Args:
        path: The store to check; with --against, a store or a set of small images in any format.
        against: The other store or set to compare with.
        variant: Which variant to compare, if it is not clear.
        split: Which splits to compare. Default: all.
        out_file: CSV file to write, with one line for each image that is not identical.
        quiet: Show no progress.
    """
    from lowres.store.store import open_store

    track = silent if quiet else shown
    if against is not None:
        return _compare(path, against, variant, split, out_file, track)
    opened = open_store(path)
    if variant is not None or out_file is not None or split:
        raise LowresError("--variant, --split and --out are for a comparison: add --against PATH")
    problems = list(opened.problems(track))
    out.lines(f"  {problem}" for problem in problems)
    count = len(opened.manifest.files)
    if problems:
        out.print(
            f"{path}: damaged, {len(problems)} of its checks failed; to repair it, remove the "
            "folder and run its lowres build again"
        )
    else:
        out.print(f"{path}: whole; {count} files have the checksums of the manifest")
    return int(bool(problems))


def _compare(
    path: Path,
    against: Path,
    variant: str | None,
    splits: tuple[str, ...],
    out_file: Path | None,
    track: Track,
) -> int:
    from lowres.comparing.compare import compare_sets
    from lowres.comparing.sets import open_pairs

    pairs = open_pairs(path, against, variant)
    if out_file is not None and len(pairs) > 1:
        raise LowresError("--out takes one comparison: choose one by --variant")
    status = 0
    for one, other in pairs:
        comparison = compare_sets(one, other, splits=splits, track=track)
        out.lines(comparison.lines())
        if out_file is not None:
            out.print(f"{out_file}: {comparison.write_csv(out_file):,} lines")
        status = max(status, int(not comparison.same))
    return status


def check(
    store: LocalPath,
    /,
    *,
    variant: str | None = None,
    similarity: float | None = None,
    out_file: Annotated[Path | None, Output] = None,
    sheet: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Look for duplicates and leaks between splits, blank images and imbalance.

    It finds equal images and near-duplicates (other brightness, compression, a slight crop), within
    and across splits. Exit status 1: an image is in two splits or in two classes.

    Example: lowres check store --out pairs.csv --sheet pairs.png

    Args:
        store: The store to check.
        variant: Which variant to read. Default: the one nearest to 16 px.
        similarity: The lowest similarity of near-duplicates, 0.7 to 1. Default: 0.9.
        out_file: CSV file to write, with one line for each pair and each blank image.
        sheet: PNG file to write: a contact sheet of pairs.
        quiet: Show no progress.
    """
    from lowres.comparing.check import SIMILARITY, check as check_store
    from lowres.comparing.contact_sheet import pair_sheet
    from lowres.store.store import open_store

    found = check_store(
        open_store(store),
        variant,
        least=SIMILARITY if similarity is None else similarity,
        track=silent if quiet else shown,
    )
    if out_file is not None:
        out.print(f"{out_file}: {found.write_csv(out_file):,} lines")
    if sheet is not None:
        out.print(str(pair_sheet(found, sheet)))
    for line in found.lines():
        out.print(line)
    if out_file is None and (len(found.near) or len(found.copies)):
        out.print(f"for a list of the pairs, run: {command('check', store)} --out pairs.csv")
    return int(not found.sound)


def show(
    store: LocalPath,
    /,
    *,
    out_file: Annotated[Path, Output] = Path("contact-sheet.png"),
    split: str | None = None,
    count: int = 8,
) -> None:
    """Draw a contact sheet: the same images across sizes and filters.

    Args:
        store: The store to look at.
        out_file: PNG file to write.
        split: Which split. Default: train.
        count: Number of images.
    """
    from lowres.comparing.contact_sheet import contact_sheet
    from lowres.store.store import open_store

    out.print(str(contact_sheet(open_store(store), out_file, split=split, count=count)))
