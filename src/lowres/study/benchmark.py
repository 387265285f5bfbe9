"""A study as a tabular benchmark for hyperparameter optimization, in the forms of four packages.

::

    DEST/data/results.parquet   one row an epoch, for pandas, polars and Hugging Face datasets
    DEST/README.md              the data card
    DEST/configspace.json       the search space, for ConfigSpace
    DEST/syne_tune/             a tabular blackbox for each size, for Syne Tune
    DEST/optunahub/NAME/        a benchmark module, for OptunaHub

Fidelities are the epoch and the size of the images. A configuration is the value of every other
field that was swept; seeds are repetitions.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres.errors import StudyError, require
from lowres.study.runs import Runs, runs
from lowres.text import command, count, is_number
from lowres.work.files import named, sync

OBJECTIVES = ("top1_error", "elapsed_s", "cost_macs")
"""Values of each cell: error (a share), and seconds and multiply-adds of training so far."""

WORST_ERROR = 1.0
"""Error from the epoch on in which a run diverged."""

MEASURED = ("top1_error", "top5_error", "eval_loss", "train_loss")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A study by configuration, size, seed and epoch.

    Attributes:
        name: of the study's directory.
        space: the values of each swept field, sorted.
        configurations: those that were run, in the order of the fields of `space`.
        sizes: sides of the images in pixels.
        seeds: the seeds of the study.
        epochs: the longest training.
        cells: (sizes, configurations, seeds, epochs, 3) float64, the `OBJECTIVES`; nan if it was
            not run.
        rows: one an epoch that was trained, as `results.parquet` holds them.
    """

    name: str
    space: dict[str, list[Any]]
    configurations: list[tuple[Any, ...]]
    sizes: list[int]
    seeds: list[int]
    epochs: int
    cells: NDArray[np.float64]
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, folder: Path) -> Benchmark:
        """Read the finished runs of a study.

        Raises:
            StudyError: no run is finished, nothing but sizes and seeds was swept, or two runs have
                the same configuration, size and seed.
            RunError: a run is damaged.
        """
        table = Runs(row for row in runs(folder) if row["state"] in ("trained", "diverged"))
        if not table:
            raise StudyError(f"{folder} has no finished run: run {command('status', folder)}")
        names = [name for name in table.swept if name not in ("size", "seed")]
        if not names:
            raise StudyError(
                f"{folder} swept only sizes and seeds, and a benchmark needs configurations to "
                "choose from: add an axis, such as --axis lr=log:0.001:0.1:5"
            )
        for row in table:
            row |= {name: "none" for name in names if row[name] is None}
        keys = {row["run"]: tuple(row[name] for name in names) for row in table}
        found = sorted(set(keys.values()), key=lambda key: tuple(map(_order, key)))
        places = {key: place for place, key in enumerate(found)}
        sizes, seeds = (sorted({row[name] for row in table}) for name in ("size", "seed"))
        epochs = max(row["epochs_done"] for row in table)
        shape = (len(sizes), len(found), len(seeds), epochs, len(OBJECTIVES))
        cells = np.full(shape, np.nan)
        rows = []
        curves: dict[str, list[dict[str, Any]]] = {}
        for record in runs(folder, epochs=True):
            curves.setdefault(record["run"], []).append(record)
        for row in table:
            place = sizes.index(row["size"]), places[keys[row["run"]]]
            cell = cells[(*place, seeds.index(row["seed"]))]
            if not np.isnan(cell).all():
                raise StudyError(
                    f"{folder} has two runs of {dict(zip(names, keys[row['run']], strict=True))} "
                    f"at {row['size']} px with seed {row['seed']}: export them apart"
                )
            rows += _filled(cell, row, curves.get(row["run"], []), names)
        space = {name: sorted({row[name] for row in table}, key=_order) for name in names}
        return cls(folder.resolve().name, space, found, sizes, seeds, epochs, cells, rows)

    @property
    def missing(self) -> int:
        """How many combinations of configuration, size and seed were not run."""
        return int(np.isnan(self.cells[..., 0]).all(axis=-1).sum())


def _filled(
    cell: NDArray[np.float64],
    row: dict[str, Any],
    curve: Sequence[dict[str, Any]],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Fill the cells of a run, (epochs, 3), and return its rows."""
    rows, elapsed = [], 0.0
    per_epoch = (row["train_macs"] or math.nan) / max(1, row["epochs_done"])
    for record in curve:
        place = record["epoch"] - 1
        elapsed += record["train_s"] or 0.0
        error = WORST_ERROR if record["top1_error"] is None else record["top1_error"]
        cell[place] = error, elapsed, per_epoch * record["epoch"]
        rows.append(
            {name: row[name] for name in names}
            | {"size": row["size"], "epoch": record["epoch"], "seed": row["seed"]}
            | {name: record[name] for name in MEASURED}
            | {"elapsed_s": elapsed, "cost_macs": per_epoch * record["epoch"]}
            | {"state": row["state"], "run": row["run"]}
        )
    if row["state"] == "diverged" and curve:
        cell[len(curve) :] = cell[len(curve) - 1]
    return rows


def export_benchmark(folder: Path, destination: Path) -> Benchmark:
    """Write a study as a tabular benchmark.

    Args:
        folder: the study.
        destination: folder to write; it must not exist.

    Raises:
        StudyError: as `Benchmark.of`, or the destination exists.
        MissingExtraError: pyarrow or PyYAML is not installed.
    """
    if destination.exists():
        raise StudyError(f"{destination} exists: choose a new path")
    yaml, arrow = require("yaml", "parquet"), require("pyarrow", "parquet")
    require("pyarrow.parquet", "parquet")
    found = Benchmark.of(folder)
    partial = destination.with_name(f"{destination.name}.lowres-partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with named(partial):
            (partial / "data").mkdir(parents=True)
            rows = arrow.Table.from_pylist(found.rows)
            arrow.parquet.write_table(rows, partial / "data" / "results.parquet")
            (partial / "README.md").write_text(_card(found, yaml), encoding="utf-8")
            _write_json(partial / "configspace.json", _configspace(found))
            _write_syne_tune(found, partial / "syne_tune", arrow)
            _write_optunahub(found, partial / "optunahub" / module_name(found.name))
            for path in (*partial.rglob("*"), partial):
                sync(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(destination)
    sync(destination.absolute().parent)
    return found


def module_name(name: str) -> str:
    """Return the name of a study as that of a Python module."""
    return f"lowres_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_') or 'study'}"


def _configspace(found: Benchmark) -> dict[str, Any]:
    """Return the search space in version 0.4 of the format of ConfigSpace's `from_json`."""
    parameters = [
        {"type": "ordinal", "name": name, "sequence": values, "default_value": values[0]}
        if all(map(is_number, values))
        else {"type": "categorical", "name": name, "choices": values, "default_value": values[0]}
        | {"weights": None}
        for name, values in sorted(found.space.items())
    ]
    return {
        "name": found.name,
        "hyperparameters": [{**one, "meta": None} for one in parameters],
        "conditions": [],
        "forbiddens": [],
        "python_module_version": "1.2.0",
        "format_version": 0.4,
    }


def _write_syne_tune(found: Benchmark, folder: Path, arrow: ModuleType) -> None:
    """Write what `blackbox_tabular.deserialize` reads: one task a size, one fidelity, the epoch."""
    folder.mkdir()
    domains = {
        name: {
            "domain_cls": "Ordinal" if all(map(is_number, values)) else "Categorical",
            "domain_kwargs": {"categories": values},
            "sampler_cls": "Uniform",
            "sampler_kwargs": {},
        }
        for name, values in found.space.items()
    }
    _write_json(folder / "configspace.json", domains)
    epoch = {"domain_cls": "Integer", "domain_kwargs": {"lower": 1, "upper": found.epochs}}
    uniform = {"sampler_cls": "Uniform", "sampler_kwargs": {}}
    _write_json(folder / "fidelityspace.json", {"epoch": epoch | uniform})
    columns = zip(*found.configurations, strict=True)
    table = arrow.table(dict(zip(found.space, map(list, columns), strict=True)))
    arrow.parquet.write_table(table, folder / "hyperparameters.parquet", compression="gzip")
    np.save(folder / "objectives_evaluations.npy", found.cells.astype(np.float32))
    np.save(folder / "fidelities_values.npy", np.arange(1, found.epochs + 1))
    tasks = {"objectives_names": list(OBJECTIVES), "task_names": [f"{s}px" for s in found.sizes]}
    _write_json(folder / "metadata.json", tasks)


def _write_optunahub(found: Benchmark, folder: Path) -> None:
    folder.mkdir(parents=True)
    code = resources.files("lowres.study").joinpath("optunahub_benchmark.txt").read_text("utf-8")
    (folder / "__init__.py").write_text(code, encoding="utf-8")
    plan = {
        "space": found.space,
        "configurations": found.configurations,
        "sizes": found.sizes,
        "seeds": found.seeds,
        "epochs": found.epochs,
    }
    _write_json(folder / "plan.json", plan)
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("size", "configuration", "seed", "epoch", *OBJECTIVES))
        for at in np.argwhere(~np.isnan(found.cells[..., 0])).tolist():
            size, configuration, seed, epoch = at
            where = found.sizes[size], configuration, found.seeds[seed], epoch + 1
            writer.writerow((*where, *found.cells[tuple(at)].tolist()))


def _card(found: Benchmark, yaml: ModuleType) -> str:
    files = {"config_name": "default", "data_files": "data/results.parquet"}
    front = {"license": "other", "task_categories": ["tabular-regression"], "configs": [files]}
    swept = "\n".join(
        f"- `{name}`: {', '.join(map(str, values))}" for name, values in found.space.items()
    )
    module = module_name(found.name)
    missing = f"{count(found.missing, 'combination')} of these were not run." * (found.missing > 0)
    return f"""\
---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# {found.name}, a tabular benchmark made by lowres

{len(found.rows):,} trained epochs: {count(len(found.configurations), "configuration")}, sizes
{", ".join(map(str, found.sizes))} px, {count(len(found.seeds), "seed")}, up to
{count(found.epochs, "epoch")}. {missing}

{swept}

`top1_error` and `top5_error` are shares from 0 to 1, on the images of the split that the study
measured on. `elapsed_s` and `cost_macs` are seconds and multiply-adds of training up to that epoch.

- The epoch is a point of one training. Its learning rate followed the schedule of the whole
  training, so it is no shorter training.
- If a run diverged, `top1_error` is empty in `results.parquet`, and {WORST_ERROR:g} from that epoch
  on in the other files.

## Read it

```text
pandas.read_parquet("data/results.parquet")
ConfigSpace.ConfigurationSpace.from_json("configspace.json")
syne_tune.blackbox_repository.blackbox_tabular.deserialize("syne_tune")
optunahub.load_local_module("{module}", registry_root="optunahub").Problem(size={found.sizes[0]})
```
"""


def _write_json(path: Path, record: object) -> None:
    path.write_text(f"{json.dumps(record, indent=1)}\n", encoding="utf-8")


def _order(setting: object) -> tuple[bool, float | str]:
    """Order numbers by value, before words."""
    return (False, setting) if isinstance(setting, int | float) else (True, str(setting))
