"""Runs as rows: what their directories hold, how they were made, and labels that distinguish them.

Errors are top-1, shares from 0 to 1; +inf stands for a run that diverged.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowres.errors import RunError
from lowres.networks.shape import FLOPS_PER_MAC
from lowres.recipe import FIELDS, Recipe
from lowres.store.store import Store
from lowres.study.runs import Damaged, read_runs
from lowres.text import is_number, value as value_text, without_folders
from lowres.training.run import METRICS_FILE, Run, RunSummary
from lowres.variant import Variant

Key = TypeVar("Key", bound=Hashable)

MOST_VALUES = 24
"""Values of a swept field that are listed; of more, the first and the last dozen."""


Columns = Mapping[str, NDArray[np.float64]]
"""Values of a run after each epoch, by name; nan where there is none."""


@dataclass(frozen=True, slots=True)
class Row(RunSummary):
    """One run; `history` is empty, because `epochs` holds it.

    Attributes:
        store: path and digest of its store, as recorded in the run.
        epochs: the values of `metrics.jsonl`.
        path: its directory; None if it has none.
    """

    store: tuple[str, str] = ("", "")
    epochs: Columns = field(default_factory=dict)
    path: Path | None = None

    @property
    def variant(self) -> Variant:
        """The variant that it was trained on."""
        return Variant.parse(self.recipe.variant)

    @property
    def error(self) -> float:
        """Top-1 error of a finished run, inf if it diverged."""
        value = self.result["top1_error"]
        return math.inf if value is None else float(value)

    @property
    def seconds(self) -> float:
        """Training time of a finished run."""
        return float(self.result["train_s"])

    @property
    def flops(self) -> float | None:
        """Operations of a finished run's training; None if an older lowres did not count them."""
        macs = self.result.get("train_macs")
        return None if macs is None else float(FLOPS_PER_MAC * macs)


def read_rows(folder: Path) -> tuple[list[Row], list[Damaged]]:
    """Read all runs in a folder, at any depth, sorted by variant, width, learning rate and seed.

    Reasons name files without their folders, because a report is shared.

    Returns:
        The runs, and those of which a file is damaged or missing.

    Raises:
        StudyError: there is no run that can be read.
    """
    same = dict[str | bytes, Any]()

    def row(run: Run, one: RunSummary) -> Row:
        store = str(run.store_path), run.store_digest
        # Runs share hardware, software and learning rates of epochs: equal values are kept once.
        result = {name: same.setdefault(repr(value), value) for name, value in one.result.items()}
        epochs = _columns(one.history, run.path)
        for name in epochs.keys() & {"epoch", "lr"}:
            epochs[name] = same.setdefault(epochs[name].tobytes(), epochs[name])
        return Row(one.name, one.recipe, one.state, (), result, one.reason, store, epochs, run.path)

    rows, damaged = read_runs(folder, row)
    known = {str(place) for place in (folder, folder.resolve(), Path.cwd(), Path.home())}
    known |= {str(Path(path).parent) for path in {row.store[0] for row in rows}}
    rows = [replace(one, reason=without_folders(one.reason, known)) for one in rows]
    damaged = [replace(one, reason=without_folders(one.reason, known)) for one in damaged]

    def place(row: Row) -> tuple[Variant, float, float, int, str]:
        recipe = row.recipe
        return row.variant, recipe.width, recipe.lr, recipe.seed, row.name

    return sorted(rows, key=place), damaged


def _columns(history: Sequence[dict[str, Any]], run: Path) -> dict[str, NDArray[np.float64]]:
    try:
        names = dict.fromkeys(name for epoch in history for name in epoch)
        return {
            name: np.array([epoch.get(name) for epoch in history], np.float64) for name in names
        }
    except (AttributeError, TypeError, ValueError) as error:
        file = run / METRICS_FILE
        raise RunError(f"{file} is damaged: values of an epoch must be numbers: {error}") from error


def grouped(rows: Sequence[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Return the runs that have each key; keys are in the order of their first run."""
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def swept_fields(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the recipe fields in which the runs differ."""
    return tuple(name for name in FIELDS if len({getattr(row.recipe, name) for row in rows}) > 1)


def label(recipe: Recipe, names: Iterable[str]) -> str:
    """Describe a recipe by some of its fields: `16-box, width 2`."""
    parts = []
    for name in names:
        value = field_text(getattr(recipe, name))
        parts.append(value if name == "variant" else f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def field_text(value: object) -> str:
    """Return the value of a field for a reader: yes and no for truth values, none for None."""
    words = {True: "yes", False: "no", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else value_text(value)


def fields_but(swept: Sequence[str], *names: str) -> tuple[str, ...]:
    """Return the swept fields without the seed and without `names`."""
    return tuple(name for name in swept if name not in (*names, "seed"))


def mean(values: Sequence[float]) -> float:
    """Return the mean; inf if a value is not finite."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.inf


def sort_value(row: Row, name: str) -> float | None:
    """Return the number by which a field sorts; None for text."""
    value = row.variant.size if name == "variant" else getattr(row.recipe, name)
    return float(value) if is_number(value) else None


def provenance(
    rows: Sequence[Row], swept: Sequence[str], store: Store | None
) -> list[tuple[str, str]]:
    """Return how runs were made, as titles and texts: recipe, store, hardware, software.

    Args:
        rows: the runs.
        swept: the recipe fields in which they differ.
        store: their store, if it still exists.
    """
    sweeps = []
    for name in swept:
        known = {field_text(getattr(row.recipe, name)): row for row in rows}
        texts = sorted(known, key=lambda text: (sort_value(known[text], name) or 0.0, text))
        if len(texts) > MOST_VALUES:
            texts = [*texts[: MOST_VALUES // 2], "…", *texts[-MOST_VALUES // 2 :]]
        sweeps.append(f"{name.replace('_', ' ')}: {', '.join(texts)}")
    constant = [name for name in FIELDS if name not in swept]
    stores = dict.fromkeys(row.store for row in rows)
    found = [
        ("Swept", "; ".join(sweeps) or "nothing"),
        ("Recipe common to all runs", label(rows[0].recipe, constant)),
        ("Store", "; ".join(f"{Path(path).name}, contents {digest}" for path, digest in stores)),
    ]
    if store is not None:
        splits = ", ".join(f"{count:,} {split}" for split, count in store.splits.items())
        found += [
            ("Images", f"{splits}; {len(store.classes):,} classes"),
            ("Source of the store", _json_text(store.manifest.source)),
            ("Options of the build", _json_text(store.manifest.options)),
            ("Built with", _json_text(store.manifest.versions)),
        ]
    results = [row.result for row in rows if row.result]
    for title, key in (
        ("Hardware", "hardware"),
        ("Software", "versions"),
        ("Numbers in the network", "precision"),
        ("torch.compile", "compiled"),
        ("Errors measured on", "eval_split"),
    ):
        texts = list(dict.fromkeys(_json_text(one[key]) for one in results if key in one))
        if texts:
            found.append((title, "; ".join(texts)))
    return found


def _json_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_json_text(each)}" for key, each in value.items() if each)
    if isinstance(value, list | tuple):
        return " ".join(map(_json_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return without_folders(str(value))
