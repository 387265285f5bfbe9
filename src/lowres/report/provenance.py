"""How the runs of a report were made: recipe, store, hardware, software."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres.recipe import FIELDS
from lowres.report.analysis import Analysis
from lowres.report.reading import Row, label
from lowres.store.store import Store


def provenance(analysis: Analysis, store: Store | None) -> list[tuple[str, str]]:
    """Give titles and texts."""
    rows = analysis.rows
    constant = [name for name in FIELDS if name not in analysis.swept]
    swept = [
        f"{name.replace('_', ' ')}: {', '.join(_values(rows, name))}" for name in analysis.swept
    ]
    lines = [
        ("Swept", "; ".join(swept) or "nothing"),
        ("Recipe common to all runs", label(rows[0].recipe, constant)),
        ("Store", "; ".join(_stores(rows))),
    ]
    if store is not None:
        lines += _manifest(store)
    results = [row.result for row in rows if row.result]
    for title, key in (
        ("Hardware", "hardware"),
        ("Software", "versions"),
        ("Numbers in the network", "precision"),
        ("torch.compile", "compiled"),
        ("Errors measured on", "eval_split"),
    ):
        found = dict.fromkeys(_text(result[key]) for result in results if key in result)
        if found:
            lines.append((title, "; ".join(found)))
    return lines


def _values(rows: Sequence[Row], name: str) -> list[str]:
    texts = {
        label(row.recipe, [name]).removeprefix(name.replace("_", " ")).strip(): row for row in rows
    }
    order = sorted(texts, key=lambda text: (_sortable(texts[text], name), text))
    return order if len(order) <= 24 else [*order[:12], "…", *order[-12:]]


def _sortable(row: Row, name: str) -> float:
    value = row.variant.size if name == "variant" else getattr(row.recipe, name)
    return float(value) if isinstance(value, int | float) else 0.0


def _stores(rows: Sequence[Row]) -> list[str]:
    stores = dict.fromkeys(row.store for row in rows)
    return [f"{path}, contents {digest}" for path, digest in stores]


def _manifest(store: Store) -> list[tuple[str, str]]:
    manifest = store.manifest
    splits = ", ".join(f"{count:,} {split}" for split, count in store.splits.items())
    return [
        ("Images", f"{splits}; {len(store.classes):,} classes"),
        ("Source of the store", _text(manifest.source)),
        ("Options of the build", _text(manifest.options)),
        ("Built with", _text(manifest.versions)),
    ]


def _text(value: Any) -> str:  # noqa: ANN401  any JSON value
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items() if each)
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
