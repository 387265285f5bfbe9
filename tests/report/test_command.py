"""`lowres report` as it is typed."""

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from lowres.cli import runs
from lowres.report.files import Format
from made_runs import write_study


def report(*arguments):
    command = [sys.executable, "-m", "lowres", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_formats_are_written_and_verdicts_printed(tmp_path):
    folder = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0,))
    done = report(folder, "--format", "md", "csv", "--format", "png")
    assert done.returncode == 0, done.stderr
    verdict, shift, *paths = done.stdout.splitlines()
    assert verdict.startswith("8-box")
    assert "for 16-box" in verdict
    assert shift.startswith("Best learning rate from 8-box to 16-box: ")
    assert paths[:2] == [str(folder / "report.md"), str(folder / "runs.csv")]
    assert all(path.endswith(".png") for path in paths[2:])
    assert not (folder / "report.html").exists()


def test_an_unknown_format_is_refused(tmp_path):
    done = report(tmp_path, "--format", "pdf")
    assert done.returncode != 0
    assert "html" in done.stderr
    assert not any(tmp_path.iterdir())


def test_the_flag_takes_every_format():
    flag = get_args(get_type_hints(runs.report)["formats"])[0]
    assert get_args(flag) == get_args(Format)


BARE = """
import sys

class Missing:
    def find_spec(name, path=None, target=None):
        if name in ("scipy", "jinja2", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing)
from lowres.cli import main
main()
"""


def test_a_bare_install_is_asked_once_for_one_extra(tmp_path):
    command = [sys.executable, "-c", BARE, "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("pip install") == 1
    assert "[report]" in done.stderr
    assert "[study]" not in done.stderr
