"""Report and status of a study of 10,000 runs: time, peak memory, size of the page, time of a sort.

`python bench/large_study.py [FOLDER]` writes the directories of a study without training: 4 sizes,
5 widths, 10 learning rates, 10 weight decays, 5 seeds, 40 epochs. It then runs the commands on it
and prints a line for each. FOLDER keeps the study for another call; the default is temporary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from lowres.recipe import Recipe

SIZES, WIDTHS, SEEDS = (8, 16, 32, 64), (1.0, 2.0, 4.0, 8.0, 10.0), range(5)
RATES = tuple(0.002 * 1.8**n for n in range(10))
DECAYS = tuple(1e-5 * 2**n for n in range(10))
STORE = {"path": "/nowhere/store", "digest": "ab" * 32}
MACHINE = {"device": "made up", "threads": 2}
VERSIONS = {"lowres": "0.1.0", "torch": "2.13.0"}


def write_study(folder: Path, epochs: int) -> None:
    """Write a study whose errors are a smooth surface plus noise."""
    drawn, names = random.Random(0), []
    for size, width, lr, decay, seed in product(SIZES, WIDTHS, RATES, DECAYS, SEEDS):
        recipe = Recipe(
            variant=f"{size}-box", width=width, lr=lr, weight_decay=decay, seed=seed, epochs=epochs
        )
        path = folder / "runs" / recipe.run_name(STORE["digest"])
        names.append(path.name)
        path.mkdir(parents=True)
        away = abs(lr - 0.05 * size**0.1) ** 0.5 + abs(decay - 5e-4) ** 0.5
        error = 0.9 / (1 + 0.1 * size**0.5 * width**0.3) + 0.1 * away + drawn.gauss(0, 0.005)
        write_run(path, recipe, min(max(error, 0.01), 0.99), drawn)
    axes = {"width": list(WIDTHS), "lr": list(RATES), "weight_decay": list(DECAYS)}
    axes |= {"variant": [f"{size}-box" for size in SIZES], "seed": list(SEEDS)}
    base = Recipe(epochs=epochs).to_record()
    plan = {"store": STORE, "base": base, "axes": axes, "runs": names}
    (folder / "study.json").write_text(json.dumps(plan))


def write_run(path: Path, recipe: Recipe, error: float, drawn: random.Random) -> None:
    """Write the directory of a finished run."""
    seconds = recipe.size**1.5 * recipe.width / 100
    lines = []
    for epoch in range(1, recipe.epochs + 1):
        now = error + (0.95 - error) * 0.85**epoch * (1 + drawn.gauss(0, 0.02))
        line = {"epoch": epoch, "lr": recipe.lr, "train_loss": 2.1 * now, "train_s": seconds}
        line |= {"top1_error": now, "top5_error": now / 3, "eval_loss": 2 * now, "eval_s": 0.1}
        lines.append(json.dumps(line))
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    result = {"status": "trained", "eval_split": "val", "top1_error": now, "top5_error": now / 3}
    result |= {"eval_loss": 1.0, "train_loss": 1.0, "epochs": recipe.epochs, "network": "WRN-28-2"}
    result |= {"parameters": 1_600_000, "macs": 1000 * recipe.size**2, "precision": "float32"}
    result |= {"train_macs": int(3e6 * recipe.size**2 * recipe.width), "weights_sha256": "0" * 64}
    result |= {"train_s": seconds * recipe.epochs, "eval_s": 4.0, "images_per_s": 1000.0}
    result |= {"hardware": MACHINE, "versions": VERSIONS}
    (path / "result.json").write_text(json.dumps(result, indent=2))
    plan = {"store": STORE, "recipe": recipe.to_record()}
    (path / "recipe.json").write_text(json.dumps(plan, indent=2))


def measured(*arguments: str) -> tuple[float, float, float]:
    """Run `lowres`; return wall seconds, CPU seconds and peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "lowres", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"lowres {' '.join(arguments)} failed")
    wall = time.perf_counter() - began
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def sort_s(page: Path) -> float | None:
    """Return the seconds of a sort by a press on a heading; None without a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if browser is None:
        return None
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        view = opened.new_page()
        view.set_default_timeout(60_000)
        view.goto(page.as_uri())
        view.wait_for_function("document.getElementById('run-count').textContent")
        button = view.locator("#run-table th button").nth(3)
        began = time.perf_counter()
        button.evaluate("one => { one.click(); return document.body.offsetHeight; }")
        seconds = time.perf_counter() - began
        opened.close()
    return seconds


def main() -> None:
    """Write the study, run the commands, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "study"
        if not (folder / "study.json").exists():
            write_study(folder, options.epochs)
        for verb in ("status", "report"):
            wall, cpu, peak = measured(verb, str(folder))
            print(f"lowres {verb}: {wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:.0f} MB")
        for path in [*sorted(folder.glob("re*.*")), folder / "runs.csv"]:
            print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        seconds = sort_s(folder / "report.html")
        print("sort: no browser" if seconds is None else f"sort: {seconds:.2f} s")


if __name__ == "__main__":
    main()
