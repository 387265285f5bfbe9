"""The compiled passes: equal bytes from every arithmetic, and no access beyond any array."""

import hashlib
import itertools
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from lowres.resampling.resampler import Resampler
from lowres.variant import FILTERS, FITS, RULES, Variant

SIZES = (1, 2, 7, 16, 21, 22, 32, 43, 64, 65)
ALL = [Variant(*parts) for parts in itertools.product(SIZES, FILTERS, FITS, RULES)]


def cases(count: int):
    """Draw images of all shapes, each with some variants."""
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


def digest_elsewhere(script: str, count: int, **environment: str) -> str:
    """Run `script` and print the digest in a process of its own."""
    folders = [os.path.dirname(__file__), *sys.path]  # noqa: PTH120
    run = subprocess.run(
        [sys.executable, "-c", f"{script}; print(test_kernel.digest({count}))"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(folders)},
    )
    return run.stdout.strip()


def test_numpy_makes_the_same_bytes():
    script = 'import sys; sys.modules["numba"] = None; import test_kernel'
    assert digest_elsewhere(script, 40) == digest(40)


@pytest.mark.full
def test_a_processor_without_vnni_makes_the_same_bytes(tmp_path):
    """It compiles anew, which takes seconds, so one test compares everything."""
    script = "import test_kernel; from lowres.resampling import packing; assert not packing.VNNI"
    machine = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    found = digest_elsewhere(script, 150, **machine, NUMBA_CACHE_DIR=str(tmp_path))
    assert found == digest()


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
    from lowres.resampling import packing

    config = packing.numba.config
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    monkeypatch.setattr(config, "ENABLE_AVX", enabled)
    expected = packing.VNNI if expected is None else expected
    assert packing.has_vnni() == expected


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


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="needs mmap and mprotect of Linux")
def test_no_byte_beyond_the_image_or_the_result_is_touched():
    """Both lie between pages without access, so the process would end at once."""
    folders = [os.path.dirname(__file__), *sys.path]  # noqa: PTH120
    subprocess.run(
        [sys.executable, "-c", GUARDED],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
