"""Errors without some validation images, such as those with a near-duplicate in train.

No run is trained again: `outcomes.npz` of a run has one bit for each image.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowres.comparing.contact_sheet import reopen_store
from lowres.errors import StudyError
from lowres.report.reading import Row, fields_but, grouped, label, mean
from lowres.text import command, count, percent
from lowres.training.run import Run

Place = tuple[str, int]
"""Split and row of an image."""

Listed = Mapping[str, Mapping[int, str]]
"""For each split the listed rows, with their keys ("" if unknown)."""


@dataclass(frozen=True, slots=True)
class ErrorWithout:
    """The errors of a configuration, shares from 0 to 1, as means over its runs.

    Attributes:
        configuration: in words.
        runs: its runs whose outcomes are known.
        error: on all images of the split.
        without: on the images that are not listed.
        listed: on the listed images.
    """

    configuration: str
    runs: int
    error: float
    without: float
    listed: float


@dataclass(frozen=True, slots=True)
class Without:
    """Errors without the images that a file lists.

    Attributes:
        file: its name.
        split: the split of the runs with errors.
        images: images of the split.
        left: those that are not listed.
        rows: each configuration, the one with the least error on all images first.
        by_run: the error of each run on the images that are not listed, by name of the run.
        unknown: finished runs without outcomes, which are left out.
    """

    file: str
    split: str
    images: int
    left: int
    rows: tuple[ErrorWithout, ...]
    by_run: Mapping[str, float]
    unknown: int

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.left == self.images:
            return f"{self.file} lists no image of {self.split}: no error changes."
        first, kept = self.rows[0], f"the {self.left:,} that are not in {self.file}"
        if len(self.rows) == 1:
            return (
                f"Error {percent(first.error)} on the {self.images:,} images of {self.split}; "
                f"{percent(first.without)} on {kept}."
            )
        changes = [100 * (row.without - row.error) for row in self.rows]
        best = min(self.rows, key=lambda row: row.without)
        same = best.without == first.without
        which = "still has the least" if same else f"has the least, and not {first.configuration}"
        left_out = f" {count(self.unknown, 'run')} without outcomes are left out."
        return (
            f"On {kept}, of {self.images:,} images of {self.split}, errors of "
            f"{len(self.rows)} configurations change by {min(changes):+.1f} to "
            f"{max(changes):+.1f} points; {(first if same else best).configuration} {which} "
            f"({percent(best.without)}).{left_out if self.unknown else ''}"
        )


def read_listed(path: Path) -> Listed:
    """Read which images a file lists.

    Args:
        path: what `lowres check --out` writes, of which the images count that equal or resemble an
            image of train; or a CSV file of yours with the column `row`, and optionally `split`
            (default: val) and `key`.

    Raises:
        StudyError: the file cannot be read, or has no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or ()
            if "row" not in columns:
                raise StudyError(
                    f"{path} must be a CSV file with a column row; it has "
                    f"{', '.join(columns) or 'no columns'}. lowres check STORE --out FILE makes one"
                )
            if {"kind", "other_split", "other_row"} <= set(columns):
                return _in_train(table)
            listed: dict[str, dict[int, str]] = defaultdict(dict)
            for line in table:
                listed[line.get("split") or "val"][int(line["row"])] = line.get("key") or ""
            return listed
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise StudyError(f"{path} cannot be read as a list of images: {error}") from error


def _in_train(lines: Iterable[Mapping[str, str]]) -> Listed:
    """Return the images of other splits that equal or resemble an image of train."""
    first: dict[Place, Place] = {}  # of the images with equal pixels, the one that pairs name
    keys: dict[Place, str] = {}
    near: list[tuple[Place, Place]] = []
    for line in lines:
        one = line["split"], int(line["row"])
        keys[one] = line["key"]
        if line["kind"] == "blank":
            continue
        other = line["other_split"], int(line["other_row"])
        keys[other] = line["other_key"]
        if line["kind"] == "equal":
            first[other] = one
        else:
            near.append((one, other))
    trained = {first.get(place, place) for place in keys if place[0] == "train"}
    alike = trained | {b for pair in near for a, b in (pair, pair[::-1]) if a in trained}
    listed: dict[str, dict[int, str]] = defaultdict(dict)
    for place, key in keys.items():
        if place[0] != "train" and first.get(place, place) in alike:
            listed[place[0]][place[1]] = key
    return listed


def without_listed(rows: Sequence[Row], swept: Sequence[str], path: Path) -> Without:
    """Return errors of finished runs without the images that a file lists.

    Args:
        rows: the runs.
        swept: the recipe fields in which they differ.
        path: the file, see `read_listed`.

    Raises:
        StudyError: the file cannot be read, is of another store, lists all images, or no run has
            outcomes.
        RunError: the outcomes of a run are damaged.
    """
    listed = read_listed(path)
    finished = [row for row in rows if row.finished and row.path and np.isfinite(row.error)]
    wrong = {}
    for row in finished:
        outcomes = Run.outcomes_in(row.path) if row.path else None
        if outcomes is not None:
            wrong[row.name] = outcomes
    known = [row for row in finished if row.name in wrong]
    measured = {(str(row.result.get("eval_split", "val")), len(wrong[row.name])) for row in known}
    if not measured:
        raise StudyError("no run has outcomes.npz, which --without needs: train the runs again")
    if len(measured) > 1:
        raise StudyError("--without needs runs whose errors are measured on the same images")
    ((split, images),) = measured
    places = listed.get(split, {})
    for store in dict.fromkeys(row.store for row in known):
        _check_store(path, split, images, places, store)
    kept = np.ones(images, bool)
    kept[list(places)] = False
    if not kept.any():
        raise StudyError(f"{path} lists all {images:,} images of {split}: none is left")
    names = fields_but(swept) or ("variant",)
    groups = grouped(known, lambda row: label(row.recipe, names))
    by_run = {row.name: float(wrong[row.name][kept].mean()) for row in known}
    found = [
        ErrorWithout(
            configuration,
            len(of),
            mean([row.error for row in of]),
            mean([by_run[row.name] for row in of]),
            mean([float(wrong[row.name][~kept].mean()) for row in of]) if places else math.nan,
        )
        for configuration, of in groups.items()
    ]
    found.sort(key=lambda one: one.error)
    unknown = len(finished) - len(known)
    return Without(path.name, split, images, int(kept.sum()), tuple(found), by_run, unknown)


def _check_store(
    path: Path, split: str, images: int, places: Mapping[int, str], of: tuple[str, str]
) -> None:
    """Refuse a list of images that another store has."""
    again = command("check", of[0], "--out", path)
    wrong = f"{path} lists images of another store: run {again}"
    if places and not 0 <= min(places) <= max(places) < images:
        raise StudyError(f"{wrong} (row {max(places):,} of {split}, which has {images:,} images)")
    store, _ = reopen_store(*of)
    if store is None or split not in store.splits or not any(places.values()):
        return
    keys = store.keys(split)
    for row, key in places.items():
        if key and keys[row] != key:
            raise StudyError(f"{wrong} (row {row:,} of {split} is {keys[row]}, and not {key})")
