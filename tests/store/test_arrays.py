"""Checksums taken while rows are written, compared with those of whole files."""

import hashlib
import itertools
import json
import random
import threading

import numpy as np
import pytest

from images import contents, draw_source
from lowres.errors import SourceError
from lowres.store import arrays as module, build as builder, render as rendering
from lowres.store.arrays import Chunk, RunningChecksums
from lowres.store.options import BuildOptions, Working
from lowres.store.rows import RowFile
from lowres.variant import Variant

OPTIONS = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
SKIP = Working(on_error="skip")


@pytest.mark.parametrize("seed", range(6))
def test_rows_written_in_any_order(tmp_path, monkeypatch, seed):
    """Several threads hash at once, some of them while others write."""
    monkeypatch.setattr(module, "STEP_BYTES", 700)
    monkeypatch.setattr(module, "TURN_BYTES", 2000)
    draw, count = random.Random(seed), 120
    keys = [("train", Variant(8, "box")), ("train", Variant(16, "box")), ("val", Variant(8, "box"))]
    arrays = {
        key: RowFile.create(tmp_path / f"{number}.npy", (count, key[1].size, key[1].size, 3))
        for number, key in enumerate(keys)
    }
    running = RunningChecksums(arrays)
    borders = [0, *sorted(draw.sample(range(1, count), 20)), count]
    chunks = [
        Chunk(split, *pair) for split in ("train", "val") for pair in itertools.pairwise(borders)
    ]
    draw.shuffle(chunks)

    def work() -> None:
        random_rows = np.random.default_rng(len(chunks))
        while chunks:
            try:
                chunk = chunks.pop()
            except IndexError:  # another thread took the last one
                return
            for key, rows in arrays.items():
                if key[0] == chunk.split:
                    shape = (len(chunk), *rows.shape[1:])
                    rows.write(chunk.start, random_rows.integers(0, 256, shape, np.uint8))
            running.note([chunk])
            running.follow()

    threads = [threading.Thread(target=work) for _ in range(1 + seed % 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key, rows in arrays.items():
        assert running.complete(key) == hashlib.sha256(rows.path.read_bytes()).hexdigest()


def failing_once(decode, last):
    def failing(*arguments, **options):
        nonlocal last
        last -= 1
        if not last:
            raise OSError(5, "Input/output error")
        return decode(*arguments, **options)

    return failing


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("broken", [(), ("train/bee/02.jpg", "val/dog/00.jpg", "val/dog/02.jpg")])
def test_a_manifest_against_its_files(tmp_path, monkeypatch, resumed, broken):
    """Compute everything as docs/format.md says, without code of lowres."""
    source, store = draw_source(tmp_path / "animals"), tmp_path / "store"
    for name in broken:
        (source / name).write_bytes(b"not an image")
    if resumed:
        monkeypatch.setattr(rendering, "decode_for", failing_once(rendering.decode_for, 20))
        with pytest.raises(SourceError):
            builder.build(source, store, OPTIONS, working=SKIP)
    builder.build(source, store, OPTIONS, working=SKIP)
    files = contents(store)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {k: hashlib.sha256(v).hexdigest() for k, v in files.items()}
    assert manifest["splits"] == {"train": 24 - bool(broken), "val": 12 - 2 * bool(broken)}
    for variant in manifest["variants"]:
        lines = []
        for split in manifest["splits"]:
            images = np.load(store / split / f"{variant}.npy")
            levels = images.reshape(-1, 3).astype(np.float64)
            statistics = manifest["statistics"][split][variant]
            np.testing.assert_allclose(statistics["mean"], levels.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(statistics["std"], levels.std(axis=0), rtol=1e-9)
            for label, image in zip(np.load(store / split / "labels.npy"), images, strict=True):
                name, sha256 = manifest["classes"][label], hashlib.sha256(image.tobytes())
                lines.append(f"{split}\0{name}\0{sha256.hexdigest()}\n".encode())
        size = variant.partition("-")[0]
        text = f"{size}\n".encode() + b"".join(sorted(lines))
        assert manifest["contents"][variant] == hashlib.sha256(text).hexdigest()
