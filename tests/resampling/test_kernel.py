"""The compiled passes: the same bytes by all three arithmetics, and no byte beyond any array."""

import hashlib
import itertools
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from lowres.resampling import resampler as passes
from lowres.resampling.resampler import Resampler
from lowres.variant import FILTERS, FITS, RULES, Variant

SIZES = (1, 2, 7, 16, 21, 22, 32, 43, 64, 65)
ALL = [Variant(*parts) for parts in itertools.product(SIZES, FILTERS, FITS, RULES)]


def cases(count: int):
    """Give images of all shapes, each with some variants."""
    for seed in range(count):
        draw = random.Random(seed)
        height, width = (int(300 ** draw.random()) for _ in range(2))
        variants = draw.sample(ALL, 8)
        if max(height, width) > 20 * min(height, width):
            variants = [v for v in variants if v.fit != "resize-crop"]
        levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        yield (levels >> 7) * np.uint8(255) if seed % 3 == 0 else levels, variants


def digest(count: int = 150) -> str:
    whole = hashlib.sha256()
    for image, variants in cases(count):
        for small in Resampler(variants)(image):
            whole.update(small)
    return whole.hexdigest()


def test_numpy_does_the_same(monkeypatch):
    compiled = digest(40)
    monkeypatch.setattr(passes, "kernel", None)
    assert digest(40) == compiled


def test_a_processor_without_vnni_does_the_same(tmp_path):
    """Compiled anew, which takes seconds, so that all is compared at once."""
    script = "import test_kernel as t; assert not t.passes.packing.VNNI; print(t.digest())"
    machine = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    folders = [os.path.dirname(__file__), *sys.path]  # noqa: PTH120
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            **machine,
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(folders),
        },
    )
    assert run.stdout.strip() == digest()


@pytest.mark.parametrize(
    ("name", "features", "enabled", "expected"),
    [
        (None, None, 1, None),
        (None, None, 0, False),
        ("haswell", "+avx2", 1, False),
        ("generic", "", 1, False),
        ("icelake-server", "+avx512f,+avx512vnni", 1, True),
    ],
)
def test_vnni_is_used_where_numba_compiles_for_it(monkeypatch, name, features, enabled, expected):
    """NUMBA_ENABLE_AVX=0 forbids it on a machine that has it; LLVM would end the process."""
    config = passes.packing.numba.config
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    monkeypatch.setattr(config, "ENABLE_AVX", enabled)
    expected = passes.packing.VNNI if expected is None else expected
    assert passes.packing.has_vnni() == expected


GUARDED = """
import ctypes, sys
import numpy as np
from lowres.resampling.resampler import Resampler
from test_kernel import ALL

PAGE = 4096
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def guarded(size, at_end):
    pages = (size + PAGE - 1) // PAGE
    start = libc.mmap(None, (pages + 2) * PAGE, 3, 0x22, -1, 0)
    for page in (0, pages + 1):
        assert libc.mprotect(start + page * PAGE, PAGE, 0) == 0
    start += PAGE + (pages * PAGE - size if at_end else 0)
    return np.frombuffer((ctypes.c_uint8 * size).from_address(start), np.uint8)

shapes = [(h, w) for h in range(1, 71, 3) for w in range(1, 71, 3)]
for number, (height, width) in enumerate(shapes):
    variants = ALL[number % 40 :: 40]
    for at_end in (False, True):
        image = guarded(height * width * 3, at_end).reshape(height, width, 3)
        image[:] = number % 256
        resampler = Resampler(variants)
        out = guarded(int(resampler.sizes_bytes.sum()), at_end)
        ends = np.cumsum(resampler.sizes_bytes)
        resampler.into(image, out, ends - resampler.sizes_bytes)
        assert (out == number % 256).all(), (height, width)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs mmap and mprotect of Linux")
def test_no_byte_beyond_the_image_or_the_result_is_touched():
    """Both lie between pages that must not be read; the process would end at once."""
    folders = [os.path.dirname(__file__), *sys.path]  # noqa: PTH120
    subprocess.run(
        [sys.executable, "-c", GUARDED],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
