"""Power cuts, on a real disk where the tests may mount one: what looks finished is whole."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import power_cuts


@cache
def may_mount(folder: Path) -> bool:
    try:
        power_cuts.make_disk(folder / "try.img")
        with power_cuts.mounted(folder / "try.img", folder / "try"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize("what", power_cuts.SUBJECTS)
def test_after_a_power_cut_at_any_moment(tmp_path, tmp_path_factory, what):
    """Nothing looks whole and is not, and work resumes to the bytes of uninterrupted work."""
    if not may_mount(tmp_path_factory.getbasetemp()):
        pytest.skip("only root may mount a disk, and needs mkfs.ext4")
    run = subprocess.run(
        [sys.executable, power_cuts.__file__, what, tmp_path, "20"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout.split()[1]) >= 20
