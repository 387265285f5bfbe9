"""Checkpoints: the last two are kept, damage is noticed before use, and none of them runs code."""

import io
import os
import random

import pytest
import torch

import lowres
from hooks import hooked, interrupted_after
from lowres.errors import RunError
from lowres.recipe import Recipe
from lowres.training import checkpoint, loop
from lowres.training.execution import Execution
from lowres.training.run import CHECKPOINT_FILE, EARLIER_CHECKPOINT_FILE, Run

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")
CPU = Execution(device="cpu")


@pytest.fixture
def interrupted(store, tmp_path):
    """A run with checkpoints of its first and second epoch."""
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=CPU, track=interrupted_after(2))
    return Run.open(tmp_path / "run")


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(store, tmp_path, interrupted):
    flip(interrupted.path / CHECKPOINT_FILE, 5000)
    said = []
    resumed = loop.finish(interrupted, execution=CPU, track=hooked(say=said.append))
    words = "checkpoint.pt is damaged (its SHA-256 does not fit its bytes): resumed from "
    assert any(words + "checkpoint-earlier.pt" in line for line in said)
    assert any(line.startswith("epoch 2/3") for line in said), "which is trained once more"
    whole = lowres.train(store, TINY, tmp_path / "whole", execution=CPU)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert not (interrupted.path / EARLIER_CHECKPOINT_FILE).exists(), "it is of no use any more"


def test_a_crash_between_two_names_loses_nothing(interrupted):
    (interrupted.path / CHECKPOINT_FILE).replace(interrupted.path / EARLIER_CHECKPOINT_FILE)
    assert interrupted.state == "started"
    said = []
    loop.finish(interrupted, execution=CPU, track=hooked(say=said.append))
    assert [line[:9] for line in said] == ["epoch 3/3"]


def test_without_a_whole_checkpoint_the_run_is_refused(interrupted):
    flip(interrupted.path / CHECKPOINT_FILE, -1)
    os.truncate(interrupted.path / EARLIER_CHECKPOINT_FILE, 100)
    words = r"checkpoint\.pt is damaged .*checkpoint-earlier\.pt is damaged .*beginning, remove"
    with pytest.raises(RunError, match=words):
        loop.finish(interrupted)


def test_any_changed_byte_is_noticed(interrupted):
    data = (interrupted.path / CHECKPOINT_FILE).read_bytes()
    assert checkpoint.unsealed(data) == data
    draw = random.Random(0)
    for _ in range(300):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        with pytest.raises(ValueError, match="SHA-256"):
            checkpoint.unsealed(bytes(changed))
    for length in (0, 1, 70, len(data) - 1):
        with pytest.raises(ValueError, match="SHA-256"):
            checkpoint.unsealed(data[:length])


def test_torch_reads_a_checkpoint(interrupted):
    state = torch.load(interrupted.path / CHECKPOINT_FILE, weights_only=True)
    assert len(state["history"]) == 2


def test_a_checkpoint_cannot_run_code(store, tmp_path):
    run = Run.plan(tmp_path / "run", TINY, store)

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    buffer = io.BytesIO()
    torch.save({"model": Evil()}, buffer)
    (run.path / CHECKPOINT_FILE).write_bytes(checkpoint.sealed(buffer.getvalue()))
    with pytest.raises(RunError, match="is of another network"):
        loop.finish(run)
    assert not (tmp_path / "pwned").exists()
