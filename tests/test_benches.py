"""The benches of training and of a GPU still run: a rehearsal of their shortest part."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.mark.full
def test_the_bench_of_a_gpu_rehearses_on_the_cpu(tmp_path):
    pytest.importorskip("torch")
    command = (sys.executable, "gpu.py", "--parts", "same", "--out", tmp_path / "gpu.csv")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(
        command, cwd=BENCH, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert found.stdout.count("nats apart") == 3
    assert not (tmp_path / "gpu.csv").exists(), "a rehearsal writes no figures"


@pytest.mark.full
def test_every_bench_can_be_imported():
    """A renamed function of lowres breaks a bench, which nobody would notice for months."""
    pytest.importorskip("torch")
    names = sorted(path.stem for path in BENCH.glob("*.py"))
    command = (sys.executable, "-c", f"import {', '.join(names)}")
    found = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
