"""What a GPU needs, on a fake one: memory is counted once, and batches are copied before use."""

import json
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lowres.loading.transfer import AHEAD, Copies, placed, streamed
from waiting import DEADLINE_S, wait_until

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
IMAGES = np.arange(10 * 8 * 8 * 3, dtype=np.uint8).reshape(10, 8, 8, 3)


def test_images_are_placed_if_they_take_a_part_of_the_free_memory(monkeypatch, tmp_path):
    free, empty = [0], torch.empty
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="7"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free[0], 10**12))
    monkeypatch.setattr(torch, "empty", lambda shape, dtype, device: empty(shape, dtype=dtype))
    for part, fits in ((1.0, False), (0.61, False), (0.59, True)):
        free[0] = int(IMAGES.nbytes / part)
        assert (placed(IMAGES, GPU) is not None) == fits
        assert np.array_equal(placed(IMAGES, GPU, share=float("inf")), IMAGES)
    assert [path.name for path in tmp_path.iterdir()] == ["lowres-gpu-7.lock"]
    assert np.array_equal(placed(IMAGES, CPU), IMAGES)


TWO = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import torch
from lowres.loading.transfer import placed

card, own, other = map(Path, sys.argv[1:4])
empty = torch.empty

def mem_get_info(_device):
    free = json.loads(card.read_text())
    own.touch()
    deadline = time.monotonic() + 2
    while not other.exists() and time.monotonic() < deadline:  # ask at the same time, if possible
        time.sleep(0.01)
    return free, 1000

def take(shape, dtype, device):
    card.write_text(json.dumps(json.loads(card.read_text()) - int(np.prod(shape))))
    return empty(shape, dtype=dtype)

torch.cuda.get_device_properties = lambda _: SimpleNamespace(uuid="8")
torch.cuda.mem_get_info = mem_get_info
torch.empty = take
print(placed(np.zeros((5, 2, 5, 10), np.uint8), torch.device("cuda", 0)) is not None)
"""


@pytest.mark.full
def test_two_processes_do_not_count_the_same_free_memory(tmp_path, monkeypatch):
    """Free are 1000 bytes, each wants 500 and at most 0.6 of what is free: one of them fits."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    card, first, second = (tmp_path / name for name in ("card", "first", "second"))
    card.write_text("1000")
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO, card, *names], stdout=subprocess.PIPE)
        for names in ((first, second), (second, first))
    ]
    said = [process.communicate(timeout=DEADLINE_S)[0].decode().strip() for process in processes]
    assert sorted(said) == ["False", "True"]
    assert json.loads(card.read_text()) == 500


class LateGpu:
    """A GPU whose streams run nothing before someone waits for it."""

    class Stream:
        def __init__(self, _device=None):
            self.queue, self.done = [], 0

        def record_event(self):
            return self, len(self.queue)

        def wait_event(self, event):
            stream, count = event
            for work in stream.queue[stream.done : count]:
                work()
            stream.done = max(stream.done, count)

    def __init__(self):
        self.current = self.work = self.Stream()
        self.log = []

    def current_stream(self, _device):
        return self.current

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def batch(self, values):
        """Return a batch of the host; a copy has no values until its stream has run."""

        def to(_device, *, non_blocking):
            assert non_blocking
            there = SimpleNamespace(values=None, of=self.current, used_in=[])
            there.record_stream = there.used_in.append
            self.current.queue.append(lambda: setattr(there, "values", values))
            self.log.append(values)
            return there

        return SimpleNamespace(to=to)


def test_a_batch_is_copied_in_a_stream_of_its_own_before_it_is_used(monkeypatch):
    gpu = LateGpu()
    for name in ("Stream", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(gpu, name))
    copies = Copies(GPU)
    sent = [copies.send(gpu.batch(number)) for number in range(3)]
    assert [there.values for there, _ in sent] == [None] * 3
    for number, (there, copied) in enumerate(sent):
        assert there.of is copies.stream is not gpu.work
        assert copies.receive(there, copied) is there
        assert there.values == number
        assert there.used_in == [gpu.work], "its memory stays until the work is done"
        assert [one.values for one, _ in sent[number + 1 :]] == [None] * (2 - number)


def test_batches_are_sent_ahead_of_their_use():
    sent = []

    class Counted(Copies):
        def send(self, batch):
            sent.append(len(batch))
            return super().send(batch)

    bounds = [(start, start + 1) for start in range(10)]
    rows = np.arange(10)[::-1].copy()
    batches = streamed(IMAGES, rows, bounds, Counted(CPU))
    for number, batch in enumerate(batches):
        assert np.array_equal(batch, IMAGES[[9 - number]])
        wanted = min(10, number + AHEAD)
        wait_until(lambda wanted=wanted: len(sent) >= wanted)
        assert len(sent) <= number + 1 + AHEAD
    assert len(sent) == 10
