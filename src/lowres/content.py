"""The content hash: one line by which two people find that they hold the same pictures.

It depends on the pixels, the class names and the splits, and on nothing else: not on the order of
the pictures, their names, the file format, or who wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32


def picture_digests(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash each picture of (N, H, W, 3) uint8 by itself.

    Returns:
        (N, 32) uint8, the SHA-256 of the H x W x 3 bytes of each.
    """
    rows = np.ascontiguousarray(images).reshape(-1).data
    size = len(rows) // max(len(images), 1)
    digests = b"".join(
        hashlib.sha256(rows[start : start + size]).digest() for start in range(0, len(rows), size)
    )
    return np.frombuffer(digests, np.uint8).reshape(len(images), DIGEST_BYTES)


def content_hash(
    size: int,
    splits: Mapping[str, tuple[NDArray[np.int64], NDArray[np.uint8]]],
    classes: Sequence[str],
) -> str:
    """Hash a set whatever its order.

    The SHA-256 of a line `SIZE LF` and then, for each picture, a line `SPLIT NUL CLASS NUL
    PICTURE LF` with the picture's SHA-256 in hexadecimal, these lines sorted as bytes; all UTF-8.

    Args:
        size: side of the pictures in pixels.
        splits: labels (N,) and digests (N, 32) of each split.
        classes: class names by label.
    """
    digest = hashlib.sha256(f"{size}\n".encode())
    for split in sorted(splits):
        labels, digests = splits[split]
        order = _sorted_rows(labels, digests)
        ends = np.searchsorted(labels[order], np.arange(len(classes)), side="right")
        # NUL sorts before every character of a name, so classes come in the order of their names.
        for label in sorted(range(len(classes)), key=lambda label: classes[label].encode()):
            rows = order[ends[label - 1] if label else 0 : ends[label]]
            begin = f"{split}\0{classes[label]}\0"
            lines = (f"{begin}{row.tobytes().hex()}\n" for row in digests[rows])
            digest.update("".join(lines).encode())
    return digest.hexdigest()


def _sorted_rows(labels: NDArray[np.int64], digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Order rows by label, then digest; in numbers, since a million lines take much memory."""
    columns = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    return np.lexsort((*columns.T[::-1], labels))
