"""The classes of ILSVRC2012's validation images, from the development kit or Kaggle."""

from __future__ import annotations

import csv
import tarfile
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from lowres.errors import SourceError
from lowres.imagenet import devkit_wnids, find

DEVKIT = "ILSVRC2012_devkit_t12"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
WANTED = f"{DEVKIT}.tar.gz (or {GROUND_TRUTH} from it, or Kaggle's {KAGGLE_SOLUTION})"

PARENTS = 3
"""How many folders above the images are searched: Kaggle's list lies three above `CLS-LOC`."""

GROUND_TRUTH_BYTES = 2**22
"""The most bytes read as ground truth; 50,000 images have about 200 kB."""

Truth = dict[str, str]
"""WNID by the name of the image without suffix."""


def truth_beside(folder: Path) -> tuple[Path, Truth] | None:
    """Read the labels of the validation images, from a folder or up to three above.

    Returns:
        The file and the WNID of each image by its name without suffix, or None if there is no
        such file.

    Raises:
        SourceError: the file is damaged, or a label is not one of the 1,000.
    """
    forms: tuple[tuple[str, Callable[[Path], Truth]], ...] = (
        (f"{DEVKIT}.tar.gz", _packed),
        (f"{DEVKIT}/data/{GROUND_TRUTH}", _plain),
        (GROUND_TRUTH, _plain),
        (KAGGLE_SOLUTION, _kaggle),
    )
    for place in (folder, *islice(folder.absolute().parents, PARENTS)):
        for name, read in forms:
            if (place / name).is_file():
                return place / name, read(place / name)
    return None


def _packed(path: Path) -> Truth:
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isreg() and member.name.endswith(f"data/{GROUND_TRUTH}"):
                    file = archive.extractfile(member)
                    data = file.read(GROUND_TRUTH_BYTES) if file else b""
                    return _numbered(data, f"{path}: {member.name}")
    except SourceError:
        raise
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, LookupError) as error:
        raise SourceError(f"{path} is damaged or not gzipped: {error}; fetch it again") from error
    raise SourceError(f"{path} has no data/{GROUND_TRUTH}; fetch it again")


def _plain(path: Path) -> Truth:
    with path.open("rb") as file:
        return _numbered(file.read(GROUND_TRUTH_BYTES), str(path))


def _numbered(data: bytes, where: str) -> Truth:
    """Read one devkit id a line; line N is image N, from 1."""
    wnids = devkit_wnids()
    truth = {}
    for number, line in enumerate(data.decode("ascii", "replace").rstrip().splitlines(), 1):
        text = line.strip()
        devkit_id = int(text) if text.isdecimal() and len(text) < 6 else 0
        if not 1 <= devkit_id <= len(wnids):
            raise SourceError(
                f"{where}, line {number} must be a devkit id from 1 to {len(wnids)}, was "
                f"{text[:40]!r}; fetch the file again"
            )
        truth[f"ILSVRC2012_val_{number:08}"] = wnids[devkit_id - 1]
    if not truth:
        raise SourceError(f"{where} is empty; fetch the file again")
    return truth


def _kaggle(path: Path) -> Truth:
    """Read `ImageId,PredictionString`; the first word of the second is the WNID."""
    truth: Truth = {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            if next(rows, []) != ["ImageId", "PredictionString"]:
                raise SourceError(
                    f"{path} must begin with ImageId,PredictionString; fetch it again"
                )
            for row in rows:
                name, wnid = (row[0], row[1].partition(" ")[0]) if len(row) == 2 else ("", "")
                if find(wnid) is None or name in truth:
                    raise SourceError(
                        f"{path}, line {rows.line_num} must be a new ImageId and a WNID with "
                        f"boxes, was {','.join(row)[:80]!r}; fetch the file again"
                    )
                truth[name] = wnid
        except csv.Error as error:
            raise SourceError(f"{path}, line {rows.line_num}: {error}; fetch it again") from error
    return truth
