"""Measure what is claimed about building, against the bars, on a folder of images.

    python bench/build.py FOLDER [--rounds 5] [--images N] [--only CLAIM ...]
        [--pillow 12.2.0] [--out bench/build.csv]

Claims: `floor`, against nothing but decoding, with hours for all of ImageNet; `pillow`, against
Pillow decoding once; `authors`, against a decode and a PNG for each variant; `cores`, two workers
against one; `memory`; `start`. Needs simplejpeg beside lowres, and pip for an environment with the
version of Pillow, which is made once in the user's cache.

Contenders get the same files, in the page cache, and take turns. Values are medians over rounds of
the CPU time (user and system, of a process and its children), or of the quotient of two contenders
within a round. lowres's time is that of all of `lowres.build` with `workers=1`, in a process that
has built before: indexing, reading, decoding, resampling, writing, checksums. The floor decodes
bytes already in memory. `cores` and `start` are wall time: rounds disturbed by other work are
repeated, up to a limit; trust them where `others`, the cores busy with other work meanwhile, is
near 0.

A corpus is called by its folder's name. The table keeps the rows of other corpora and claims.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from measuring import (
    Corpus,
    Turns,
    Worker,
    fresh,
    images_of,
    in_turns,
    pillow_python,
    repeated,
    subset,
)
from table import Bar, Row, merge

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


class Variants(NamedTuple):
    """What to make of each image."""

    name: str
    sizes: tuple[int, ...]
    filters: tuple[str, ...]

    def arguments(self) -> dict[str, Any]:
        """Give what contenders are told."""
        return {"sizes": self.sizes, "filters": self.filters}

    def flags(self) -> tuple[object, ...]:
        """Give what the command line is told."""
        return "--size", *self.sizes, "--filter", *self.filters


BOX = Variants("box at 16+32+64", (16, 32, 64), ("box",))
GRID = Variants("18 variants", (16, 32, 64), FILTERS)
FULL = Variants("24 variants", (8, 16, 32, 64), FILTERS)

WITH_PILLOW = 600
WITH_AUTHORS = 300
"""Images for slow claims, so that all are measured within ten minutes."""

WITH_CORES = 3000
"""Entries, links to the images again and again, so that beginning and end, which one core does,
weigh little, as they do in a set that needs more than one."""

FEW = 10
MANY = (10_000, 80_000)
"""Entries between which memory may grow, and does with the length of the index."""

SHOWN = ("what", "value", "unit", "bar", "kept", "min", "max", "others")
"""Columns that are printed."""

IMAGENET_IMAGES = 1_281_167
IMAGENET_MEAN_BYTES = 110_000


class Bench:
    """A corpus, the workers, and what contenders are run with."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path, stack: ExitStack) -> None:
        self.rounds, self.pillow = arguments.rounds, arguments.pillow
        self.scratch = scratch
        self._stack = stack
        self._workers: dict[str, Worker] = {}
        everything = images_of(arguments.folder)
        count = arguments.images or len(everything)
        whole = subset(arguments.folder, everything, count, scratch / "images")
        self._subsets = {whole.images: whole}
        self.folder, self.files = whole.folder, images_of(whole.folder)

    def some(self, count: int | None = None) -> Corpus:
        """Give `count` images of the corpus, or all."""
        count = min(count or len(self.files), len(self.files))
        if count not in self._subsets:
            target = self.scratch / f"images-{count}"
            self._subsets[count] = subset(self.folder, self.files, count, target)
        return self._subsets[count]

    def worker(self, contender: str) -> Worker:
        """Give the process that a contender runs in, started when it is first needed."""
        by_pillow = contender in ("pillow", "authors")
        name = "pillow" if by_pillow else "lowres"
        if name not in self._workers:
            python = pillow_python(self.pillow) if by_pillow else sys.executable
            self._workers[name] = self._stack.enter_context(Worker(python))
        return self._workers[name]

    def ours(self, variants: Variants, workers: int = 1) -> dict[str, Any]:
        """Describe a build by lowres."""
        more = {"workers": workers, "scratch": str(self.scratch)}
        return {"contender": "lowres", **variants.arguments(), **more}

    def turns(self, corpus: Corpus, *, spare: int = 0, **contenders: dict[str, Any]) -> Turns:
        """Run each contender on a few images, untimed, then all in turns on the corpus."""
        for request in contenders.values():
            self._run(request, self.some(FEW))
        for path in images_of(corpus.folder):  # into the page cache
            path.read_bytes()
        runs = {
            name: lambda request=request: self._run(request, corpus)
            for name, request in contenders.items()
        }
        return in_turns(runs, self.rounds, spare)

    def _run(self, request: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
        return self.worker(request["contender"]).run(**{"folder": str(corpus.folder), **request})


def against_floor(bench: Bench) -> list[Row]:
    """Compare builds with decoding alone, and tell how long all of ImageNet would take.

    Without start-up: less the time of a build of `FEW` images, against decoding the others.
    """
    corpus, few = bench.some(), bench.some(FEW)
    contenders = {"box": bench.ours(BOX), "full": bench.ours(FULL)}
    contenders |= {
        f"start of {name}": {**request, "folder": str(few.folder)}
        for name, request in contenders.items()
    }
    turns = bench.turns(corpus, floor={"contender": "floor"}, **contenders)
    refused = turns.answers["floor"][0]["told"]["refused"]
    what = f"simplejpeg decodes bytes in memory ({refused} by Pillow, which simplejpeg refuses)"
    rows = [Row(what, per_image(turns, "floor", corpus), "CPU ms/image", None, corpus, turns)]
    scale = IMAGENET_IMAGES * IMAGENET_MEAN_BYTES / corpus.mean_bytes / 60_000
    for name, variants, bar, minutes in (("box", BOX, 1.2, 25.0), ("full", FULL, 2.5, None)):
        each = per_image(turns, name, corpus)
        projected = [scale * value for value in each]
        what = f"lowres, {variants.name}, for {IMAGENET_IMAGES:,} images of 110 kB (in bytes)"
        limit = None if minutes is None else Bar(minutes)
        ratios, share = turns.ratios(name, "floor"), 1 - few.images / corpus.images
        starts = turns.ratios(f"start of {name}", "floor")
        apart = [(one - start) / share for one, start in zip(ratios, starts, strict=True)]
        rest = f"lowres, {variants.name}, without start-up / decoding"
        rows += [
            Row(f"lowres, {variants.name}", each, "CPU ms/image", None, corpus, turns),
            Row(f"lowres, {variants.name} / decoding", ratios, "x", None, corpus, turns),
            Row(rest, apart, "x", Bar(bar), corpus, turns),
            Row(what, projected, "CPU min", limit, corpus, turns),
        ]
    return rows


def against_pillow(bench: Bench) -> list[Row]:
    """Compare builds with Pillow, a decode for all variants, straight to arrays."""
    bars = ((BOX, 1.6), (FULL, 5.5))
    what = f"Pillow {bench.pillow}, decoding once"
    return against_rival(bench, "pillow", what, bars, bench.some(WITH_PILLOW), {})


def against_authors(bench: Bench) -> list[Row]:
    """Compare builds with a decode and a PNG for each variant, then packed."""
    bars = ((BOX, 6.0), (GRID, 25.0))
    what = f"Pillow {bench.pillow}, a decode and a PNG for each variant, packed"
    more = {"scratch": str(bench.scratch)}
    return against_rival(bench, "authors", what, bars, bench.some(WITH_AUTHORS), more)


def against_rival(
    bench: Bench,
    contender: str,
    what: str,
    bars: Sequence[tuple[Variants, float]],
    corpus: Corpus,
    more: dict[str, Any],
) -> list[Row]:
    """Compare the builds of some variants with a rival that makes the same."""
    contenders = {}
    for variants, _ in bars:
        contenders[f"ours {variants.name}"] = bench.ours(variants)
        theirs = {"contender": contender, **variants.arguments(), **more}
        contenders[f"theirs {variants.name}"] = theirs
    turns = bench.turns(corpus, **contenders)
    rows = []
    for variants, bar in bars:
        name = variants.name
        ours, theirs = (per_image(turns, f"{who} {name}", corpus) for who in ("ours", "theirs"))
        ratios = turns.ratios(f"theirs {name}", f"ours {name}")
        least = Bar(bar, least=True)
        rows += [
            Row(f"lowres, {name}", ours, "CPU ms/image", None, corpus, turns),
            Row(f"{what}, {name}", theirs, "CPU ms/image", None, corpus, turns),
            Row(f"{what} / lowres, {name}", ratios, "x", least, corpus, turns),
        ]
    return rows


def two_cores(bench: Bench) -> list[Row]:
    """Compare two workers with one, in wall time."""
    corpus = repeated(bench.files, WITH_CORES, bench.scratch / "repeated")
    rows = []
    for variants in (BOX, FULL):
        pair = {"one": bench.ours(variants), "two": bench.ours(variants, workers=2)}
        turns = bench.turns(corpus, spare=2 * bench.rounds, **pair)
        gain = turns.ratios("one", "two", "wall_s")
        what = f"lowres, {variants.name}, 1 worker / 2 workers"
        rows.append(Row(what, gain, "x of wall time", Bar(1.85, least=True), corpus, turns))
        for workers in ("one", "two"):
            each = per_image(turns, workers, corpus, "wall_s")
            what = f"lowres, {variants.name}, workers: {workers}"
            rows.append(Row(what, each, "wall ms/image", None, corpus, turns))
    return rows


def per_image(turns: Turns, name: str, corpus: Corpus, key: str = "cpu_s") -> list[float]:
    """Give milliseconds an image, one value a round."""
    return [1000 * value / corpus.images for value in turns.each(name, key)]


def peak_memory(bench: Bench) -> list[Row]:
    """Measure the most memory that any process of a fresh build held, and how it grows."""
    corpus = bench.some()
    # the smallest images, again and again: what grows is not what an image takes
    smallest = sorted(bench.files, key=lambda path: path.stat().st_size)[:FEW]
    many = [repeated(smallest, count, bench.scratch / f"many-{count}") for count in MANY]
    plans = {
        f"{variants.name}, {images.images:,} {kind}, workers: {workers}": (
            images,
            partial(build_afresh, bench, images, variants, workers),
        )
        for kind, images, variants, workers in (
            ("images", corpus, BOX, 1),
            *(("links to the smallest", links, BOX, 1) for links in many),
            ("images", corpus, FULL, 1),
            ("images", corpus, FULL, 2),
        )
    }
    turns = in_turns({name: run for name, (_, run) in plans.items()}, 1)
    rows = [
        Row(f"largest process, {name}", turns.each(name, "peak_mb"), "MB", Bar(600), links, turns)
        for name, (links, _) in plans.items()
    ]
    usual, few, more = (row.values[0] for row in rows[:3])
    growth = (more - few) / (MANY[1] - MANY[0])
    projected = usual + growth * (IMAGENET_IMAGES - corpus.images)
    what = f"the same, {BOX.name}, for {IMAGENET_IMAGES:,} images by that growth"
    return [*rows, Row(what, [projected], "MB", Bar(600), many[1], turns)]


def start_up(bench: Bench) -> list[Row]:
    """Measure commands in fresh processes, which have run once before."""
    few = bench.some(FEW)
    commands = {
        "lowres --help": lambda: fresh("-m", "lowres", "--help")._asdict(),
        f"lowres build of {FEW} images": lambda: build_afresh(bench, few, BOX, None),
    }
    in_turns(commands, 1)  # compiles kernels, fills the page cache
    turns = in_turns(commands, 2 * bench.rounds, spare=bench.rounds)
    bars = (Bar(0.3), Bar(2))
    return [
        Row(f"{name}, not the first time", turns.each(name, "wall_s"), "wall s", bar, few, turns)
        for name, bar in zip(commands, bars, strict=True)
    ]


def build_afresh(
    bench: Bench, corpus: Corpus, variants: Variants, workers: int | None
) -> dict[str, Any]:
    """Build a new store by a command of its own; with all cores where `workers` is None."""
    limit = () if workers is None else ("--workers", workers)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as parent:
        words = ("build", corpus.folder, Path(parent) / "store", *variants.flags(), *limit)
        return fresh("-m", "lowres", *words)._asdict()


CLAIMS: dict[str, Callable[[Bench], list[Row]]] = {
    "floor": against_floor,
    "pillow": against_pillow,
    "authors": against_authors,
    "cores": two_cores,
    "memory": peak_memory,
    "start": start_up,
}


def main() -> int:
    """Measure, claim by claim, and write the table after each."""
    arguments = parsed()
    name = arguments.folder.resolve().name
    with tempfile.TemporaryDirectory(prefix="lowres-bench-") as scratch, ExitStack() as stack:
        bench = Bench(arguments, Path(scratch), stack)
        for claim in arguments.only or CLAIMS:
            rows = CLAIMS[claim](bench)
            for row in rows:
                record = row.record()
                print(claim, *(record[key] for key in SHOWN), sep=" | ", flush=True)
            merge(arguments.out, name, claim, rows, command(arguments), list(CLAIMS))
    return 0


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="this many from all over, not all")
    parser.add_argument("--only", nargs="+", choices=CLAIMS, metavar="CLAIM")
    parser.add_argument("--pillow", default="12.2.0", help="version to compare with")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    if not images_of(arguments.folder):
        parser.error(f"{arguments.folder} holds no images")
    return arguments


def command(arguments: argparse.Namespace) -> str:
    """Give the command, without where things lie on this machine."""
    words = ["python", "bench/build.py", arguments.folder.resolve().name]
    words += ["--rounds", str(arguments.rounds), "--pillow", arguments.pillow]
    if arguments.images:
        words += ["--images", str(arguments.images)]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
