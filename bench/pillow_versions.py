"""Compare the resampling of lowres with the Pillow of several years, on random resizes.

    python bench/pillow_versions.py [--resizes 50000] [--versions 9.5.0 13.0.0] [--out CSV]

Makes an environment with each Pillow, so it needs pip's index; Pillow 9.5.0 has wheels for Python
3.11 and older. The sources are noise, 0/255 noise, hard bars and ramps with sides from 1 to 3,000,
the targets squares of 1 to 1,024 px, by all six filters, smaller and larger (`pillow_worker.py`
draws them). Compared is the SHA-256 of every result with that of a plain
`Image.resize((N, N), filter)`. Where such a call goes down first, it is two calls, across and then
down: with 12.2 that is where h > 100 w and h > N, with 13.0 where h - N > max(0, 2 (w - N)); not
for nearest, which has no order. Writes a line for each Pillow and filter, with the number of
resizes made in two calls; exits with 1 if any result differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numba
import numpy as np
from machine import processor
from pillow_worker import FILTERS, Case, cases, drawn

from lowres.resampling.resampler import resample
from lowres.variant import Variant

VERSIONS = ("9.5.0", "10.4.0", "11.3.0", "12.2.0", "13.0.0")
WORKER = Path(__file__).with_name("pillow_worker.py")
SHOWN = 10
"""How many of the resizes that differ are printed for each Pillow."""


@dataclass
class Tally:
    """What came of one Pillow, by filter."""

    numpy: str
    resizes: Counter[str] = field(default_factory=Counter)
    in_two_calls: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)


def our_checksums(resizes: int) -> list[str]:
    """Resample every case once; all versions are compared with the same answers."""
    checksums = []
    for case in cases(resizes):
        variants = [Variant(size, name) for size, name in case.variants]
        for small in resample(drawn(case), variants):
            checksums.append(hashlib.sha256(small.tobytes()).hexdigest())
    return checksums


def make_environment(folder: Path, version: str) -> Path:
    """Make a virtual environment with this Pillow and NumPy, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, f"pillow=={version}", "numpy"], check=True)
    return python


def each_resize(resizes: int) -> Iterator[tuple[Case, int, str]]:
    """Draw the resizes one by one, in the order of the worker's lines."""
    for case in cases(resizes):
        for size, name in case.variants:
            yield case, size, name


def compare(python: Path, version: str, ours: list[str]) -> Tally:
    """Let the Pillow of this environment make the same resizes, and compare."""
    command = [python, "-I", WORKER, str(len(ours))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        found, _, numpy_version = worker.stdout.readline().strip().partition(" ")
        if found != version:
            raise SystemExit(f"the environment should have Pillow {version}, has {found or 'none'}")
        tally = Tally(numpy_version)
        lines = zip(each_resize(len(ours)), ours, worker.stdout, strict=True)
        for (case, size, name), our, line in lines:
            theirs, calls = line.split()
            tally.resizes[name] += 1
            tally.in_two_calls[name] += calls == "2"
            tally.values[name] += size * size * 3
            if our != theirs:
                tally.differing[name] += 1
                if tally.differing.total() <= SHOWN:
                    print(f"  {case._replace(variants=[(size, name)])} differs")
    return tally


def rows(version: str, tally: Tally) -> Iterator[dict[str, object]]:
    """Return the lines of the table for one Pillow."""
    for name in FILTERS:
        yield {
            "pillow": version,
            "filter": name,
            "resizes": tally.resizes[name],
            "in_two_calls": tally.in_two_calls[name],
            "values": tally.values[name],
            "differing_resizes": tally.differing[name],
            "pillows_numpy": tally.numpy,
            "numpy": np.__version__,
            "numba": numba.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processor": processor(),
        }


def main() -> int:
    """Compare with each version, write the table and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resizes", type=int, default=50_000)
    parser.add_argument("--versions", nargs="+", default=VERSIONS, metavar="VERSION")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    began = time.monotonic()
    ours = our_checksums(arguments.resizes)
    print(f"lowres: {len(ours)} resizes, {time.monotonic() - began:.0f} s", flush=True)
    table: list[dict[str, object]] = []
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for version in arguments.versions:
            python = make_environment(Path(folder) / version, version)
            began = time.monotonic()
            tally = compare(python, version, ours)
            table += rows(version, tally)
            differing += tally.differing.total()
            print(
                f"Pillow {version}: {tally.differing.total()} of {tally.resizes.total()} resizes "
                f"differ, {tally.in_two_calls.total()} in two calls, "
                f"{tally.values.total()} values, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    with arguments.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
