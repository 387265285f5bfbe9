"""How fast a store would be built from the user's own images, and where the time goes.

A sample of the images is built for real, in a temporary folder. The same images are also only
decoded: no builder can be faster than that.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres.errors import SourceError
from lowres.formats.source import Index
from lowres.progress import Track, silent
from lowres.resampling.decode import quiet_decoder
from lowres.store.arrays import Chunk
from lowres.store.options import BuildOptions, Working
from lowres.store.prepare import Prepared, prepare
from lowres.store.render import OF_THE_IMAGE, Rendering, decoded, stamps_of
from lowres.store.staging import Staging
from lowres.text import duration
from lowres.work.threads import in_threads

IMAGENET_IMAGES = 1_281_167
"""Number of images in the train set of ILSVRC2012, the default of projections."""

Read = bytes | NDArray[np.uint8]

STAGES = ("read", "decode", "resample", "write")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSpeed:
    """The cost of a sample of images; medians over rounds.

    Attributes:
        images: number of images in the sample.
        of: number of images in the source.
        mean_bytes: mean size of an encoded image; 0 if the source contains pixels.
        variants: what was made of each image.
        stages_s: CPU seconds of one core for each image, by stage: read, decode, resample,
            write (rows, their checksums, the journal).
        waiting_s: seconds for each image that reading and writing waited for the disk.
        floor_s: CPU seconds to decode an image and do nothing else.
        workers: threads of the parallel build.
        per_s: images per second with these threads.
    """

    images: int
    of: int
    mean_bytes: float
    variants: tuple[str, ...]
    stages_s: dict[str, float]
    waiting_s: float
    floor_s: float
    workers: int
    per_s: float

    @property
    def core_s(self) -> float:
        """CPU seconds for each image."""
        return sum(self.stages_s.values())

    @property
    def ratio(self) -> float | None:
        """The whole work over decoding alone; None if nothing is decoded."""
        return self.core_s / self.floor_s if self.mean_bytes else None


def lines(speed: BuildSpeed, images: int | None = None) -> Iterator[str]:
    """Return lines for people, with the time for `images`, or for the source and ImageNet."""
    yield (
        f"measured {speed.images:,} of {speed.of:,} images, mean {speed.mean_bytes / 1e3:.1f} "
        f"kB, to {len(speed.variants)} variants; milliseconds for each image:"
    )
    for stage, seconds in speed.stages_s.items():
        yield f"  {stage:9} {seconds * 1e3:7.3f}  {seconds / speed.core_s:4.0%}"
    yield f"  one core  {speed.core_s * 1e3:7.3f}        {1 / speed.core_s:,.0f} images/s"
    yield f"  waiting   {speed.waiting_s * 1e3:7.3f}        for the disk, cores idle"
    if speed.ratio is not None:
        yield (
            f"decoding alone takes {speed.floor_s * 1e3:.3f} ms; the whole work takes "
            f"{speed.ratio:.2f} x that"
        )
    yield f"{speed.workers} workers: {speed.per_s:,.0f} images/s"
    for count in (images,) if images else dict.fromkeys((speed.of, IMAGENET_IMAGES)):
        yield f"{count:,} images of this kind take {duration(count / speed.per_s)}"


def build_speed(
    source: Path | str,
    options: BuildOptions | None = None,
    *,
    sample: int = 400,
    rounds: int = 3,
    workers: int | None = None,
    scratch: Path | None = None,
    track: Track = silent,
) -> BuildSpeed:
    """Build a sample of a source several times and measure it.

    Args:
        source: labelled images, as for `lowres.build`.
        options: what would be made of them.
        sample: number of images, taken at equal distances.
        rounds: number of measurements.
        workers: threads of the parallel build; all cores by default.
        scratch: folder to write into, on the disk that is measured; default: the system's
            temporary folder.
        track: shows progress.

    Raises:
        SourceError: the source cannot be read, or no image of the sample can.
        StoreError: the options do not fit the source.
    """
    if sample < 1 or rounds < 1:
        raise SourceError(f"--sample and --rounds must be at least 1, were {sample} and {rounds}")
    threads = Working(workers=workers).threads
    with tempfile.TemporaryDirectory(prefix="lowres-bench-", dir=scratch) as folder:
        whole = prepare(Path(source), Path(folder) / "store", options)
        each = []
        with quiet_decoder(), track("rounds", rounds + 1) as display:
            index, read = _sampled(whole, sample)
            prepared = replace(whole, index=index)
            for number in range(rounds + 1):
                each.append(_round(prepared, Path(folder) / str(number), read, threads))
                display.advance()

    def median(what: str) -> float:
        return statistics.median(measured[what] for measured in each[1:])  # the first one compiles

    return BuildSpeed(
        images=len(read),
        of=whole.images,
        mean_bytes=statistics.fmean(len(r) if isinstance(r, bytes) else 0 for r in read),
        variants=tuple(map(str, prepared.variants)),
        stages_s={stage: median(stage) / len(read) for stage in STAGES},
        waiting_s=median("waiting") / len(read),
        floor_s=median("floor") / len(read),
        workers=threads,
        per_s=len(read) / median("parallel"),
    )


def _sampled(whole: Prepared, sample: int) -> tuple[Index, list[Read]]:
    """Take entries at equal distances that can be decoded; read them, which warms the cache."""
    step = max(whole.images / sample, 1.0)
    splits, read = {}, []
    for split, entries in whole.index.splits.items():
        kept = []
        for row in np.unique(np.arange(0, len(entries), step).astype(np.int64)):
            with suppress(*OF_THE_IMAGE):
                data = whole.source.read(entries[row])
                decoded(whole, data)
                kept.append(entries[row])
                read.append(data)
        if kept:
            splits[split] = tuple(kept)
    if not read:
        raise SourceError(f"none of {sample} images of {whole.source.path} can be decoded")
    return replace(whole.index, splits=splits), read


def _round(
    prepared: Prepared, folder: Path, read: Sequence[Read], workers: int
) -> dict[str, float]:
    """Measure the seconds to decode the sample, to build it in one thread, and in all threads."""
    seconds = dict.fromkeys((*STAGES, "waiting", "floor", "parallel"), 0.0)
    for data in read:
        with _timed(seconds, "floor"):
            if isinstance(data, bytes):
                decoded(prepared, data)
    for store in (folder / "one", folder / "all"):
        store.mkdir(parents=True)
    with closing(Staging(folder / "one", prepared)) as staging:
        rendering = Rendering(staging)
        rendering.image_s = seconds["floor"] / len(read)
        for chunk in rendering.chunks(1):
            _build_chunk(rendering, chunk, seconds)
    with closing(Staging(folder / "all", prepared)) as staging:
        rendering = Rendering(staging)
        began = time.perf_counter()
        for _ in in_threads(
            rendering.build, rendering.chunks(workers), workers, rendering.stopping
        ):
            pass
        seconds["parallel"] = time.perf_counter() - began
    return seconds


def _build_chunk(rendering: Rendering, chunk: Chunk, seconds: dict[str, float]) -> None:
    """Build a chunk as `Rendering.build` does, and measure each step."""
    entries = rendering.staging.entries(chunk)
    with _timed(seconds, "read"):
        stamps = stamps_of(rendering.source, entries)
    pixels, places = rendering.space(len(chunk))
    for row, entry in enumerate(entries):
        with _timed(seconds, "read"):
            read = rendering.source.read(entry)
        with _timed(seconds, "decode"):
            found = decoded(rendering.prepared, read)
        with _timed(seconds, "resample"):
            rendering.resample(found.images, pixels, places[row])
    with _timed(seconds, "write"):
        rendering.staging.keep(chunk, stamps, {}, {}, pixels)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add this thread's CPU time to a stage, and the rest of the time to the waiting."""
    began, used = time.perf_counter(), time.thread_time()
    yield
    used = time.thread_time() - used
    seconds[stage] += used
    if stage in ("read", "write"):
        seconds["waiting"] += max(time.perf_counter() - began - used, 0.0)
