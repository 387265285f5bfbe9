"""Power cuts and full disks, on disks that the tests make: what looks finished is whole."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import full_disks
import power_cuts

FEWEST = 15
"""Of 20 cuts: work that is done again may take some operations less, as its threads meet."""


@cache
def may_mount(folder: Path) -> bool:
    try:
        power_cuts.make_disk(folder / "try.img")
        with power_cuts.mounted(folder / "try.img", folder / "try"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def run(program, what, folder, count, *kind):
    ran = subprocess.run(
        [sys.executable, program.__file__, what, folder, str(count), *kind],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout.split()[1])


@pytest.fixture
def mounts(tmp_path_factory):
    if not may_mount(tmp_path_factory.getbasetemp()):
        pytest.skip("only root may mount a disk, and needs mkfs.ext4")


@pytest.mark.slow
@pytest.mark.parametrize("what", power_cuts.SUBJECTS)
def test_after_a_power_cut_at_any_moment(tmp_path, what):
    """Nothing looks whole and is not, and work resumes to the bytes of uninterrupted work."""
    assert run(power_cuts, what, tmp_path, 20, "layer") >= FEWEST


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("what", power_cuts.SUBJECTS)
def test_after_a_power_cut_of_a_real_file_system(tmp_path, what):
    assert run(power_cuts, what, tmp_path, 20, "mounted") >= FEWEST


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("what", power_cuts.SUBJECTS)
def test_on_a_full_disk(tmp_path, what):
    """The file is named, nothing half written stays, and the work resumes when there is space."""
    assert run(full_disks, what, tmp_path, 4) >= 2
