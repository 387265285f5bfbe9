"""Store to another format: the pictures of one variant, handed to a sink one by one."""

from __future__ import annotations

from pathlib import Path

from lowres.errors import StoreError
from lowres.formats import WRITERS
from lowres.progress import Track, silent
from lowres.store import Store
from lowres.variant import Variant


def export(
    store: Store,
    destination: Path,
    variant: Variant | str,
    *,
    to: str = "folder",
    track: Track = silent,
) -> int:
    """Write one variant of a store in another format.

    Args:
        store: where the pictures are.
        destination: what to write; it must not exist, or be an empty folder.
        variant: which variant.
        to: name of the format; `folder` is PNG files as `split/class/name.png`.
        track: shows progress.

    Returns:
        The number of pictures written.

    Raises:
        StoreError: the store lacks the variant, the format is unknown, or the destination is not
            empty.
    """
    if to not in WRITERS:
        raise StoreError(f"--to must be one of {', '.join(WRITERS)}, was {to!r}")
    arrays = {split: store.images(split, variant) for split in store.splits}
    if destination.is_dir() and not any(destination.iterdir()):
        destination.rmdir()
    sink = WRITERS[to](destination, store.classes)
    total = sum(store.splits.values())
    with track("export", total) as display:
        for split, images in arrays.items():
            rows = zip(store.keys(split), store.labels(split), images, strict=True)
            for key, label, picture in rows:
                sink.write(split, key, int(label), picture)
                display.advance()
    sink.finish()
    return total
