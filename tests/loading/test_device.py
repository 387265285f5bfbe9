"""Batches made on the device equal those of the NumPy loader, resident or streamed."""

import shutil
import threading

import numpy as np
import pytest
import torch

from lowres.loading.device_loader import DeviceLoader
from lowres.loading.loaders import NumpyLoader, TorchLoader
from lowres.loading.transfer import placed

CPU = torch.device("cpu")


def stored(batches):
    return placed(batches.images, CPU)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("flip", ["both", "random", "alternating", "none"])
@pytest.mark.parametrize("subtract", ["mean-image", "mean-colour"])
def test_the_same_batches_resident_or_streamed(store, resident, flip, subtract):
    batches = NumpyLoader(
        store, "8-lanczos", batch_size=7, shuffle=True, flip=flip, shift_px=3, subtract=subtract,
        divide_by="range", seed=4,
    )  # fmt: skip
    loader = DeviceLoader(batches, CPU, torch.float32, stored(batches) if resident else None)
    for epoch, first in ((0, 0), (3, 2)):
        expected = list(TorchLoader(batches).batches(epoch, first))
        found = list(loader.batches(epoch, first))
        assert len(found) == len(expected) == len(batches) - first
        for (images, labels), (own, own_labels) in zip(expected, found, strict=True):
            assert torch.allclose(own, images, atol=1e-6)
            assert own.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(own_labels, labels)


def test_shifts_beyond_the_edge_leave_nothing(store):
    batches = NumpyLoader(store, "8-box", batch_size=16, shuffle=True, shift_px=30, seed=1)
    expected, _ = next(iter(TorchLoader(batches).batches(0)))
    found, _ = next(DeviceLoader(batches, CPU, torch.float32, stored(batches)).batches(0))
    assert torch.allclose(found, expected, atol=1e-6)
    assert (found.flatten(1) == 0).all(1).any()


def test_in_bfloat16_only_the_last_step_rounds(store):
    batches = NumpyLoader(store, "8-box", "val", batch_size=5)
    exact = DeviceLoader(batches, CPU, torch.float32, stored(batches))
    rounded = DeviceLoader(batches, CPU, torch.bfloat16)
    for (images, _), (own, _) in zip(exact.batches(0), rounded.batches(0), strict=True):
        assert own.dtype == torch.bfloat16
        assert torch.equal(own, images.bfloat16())


def test_a_stream_that_is_left_early_leaves_no_thread(store):
    batches = NumpyLoader(store, "8-box", batch_size=2, shuffle=True)
    stream = DeviceLoader(batches, CPU, torch.float32).batches(0)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lowres-reader")]


def test_an_error_while_reading_is_raised_where_batches_are_used(store, monkeypatch):
    batches = NumpyLoader(store, "8-box", batch_size=2, shuffle=True)
    loader = DeviceLoader(batches, CPU, torch.float32)
    monkeypatch.setattr(np, "take", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(loader.batches(0))


def test_parts_of_batches_are_the_batches(store):
    whole = NumpyLoader(store, "8-box", batch_size=8, shuffle=True, flip="random", shift_px=2)
    parts = [
        NumpyLoader(
            store, "8-box", batch_size=8, shuffle=True, flip="random", shift_px=2, part=(rank, 4)
        )
        for rank in range(4)
    ]
    for images, *shares in zip(whole, *parts, strict=True):
        together = np.concatenate([share[0] for share in shares])
        assert all(len(share[0]) == 2 for share in shares)
        assert sorted(map(bytes, together)) == sorted(map(bytes, images[0]))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch, in its own compiler
def test_compiled_batches_are_the_same(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batches = NumpyLoader(store, "8-box", batch_size=16, shuffle=True, flip="random", shift_px=3)
    loader = DeviceLoader(batches, CPU, torch.float32, stored(batches))
    expected = list(loader.batches(1))
    loader.compile()
    for (own, _), (images, _) in zip(loader.batches(1), expected, strict=True):
        assert torch.allclose(own, images, atol=1e-6)
