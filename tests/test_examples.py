"""Every script of examples/ runs as its docstring says, and is short."""

import subprocess
import sys
from pathlib import Path

import pytest

from images import draw_source

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not here")

RUNS = {
    "build_and_look.py": (["SRC", "out"], ["contact sheet: out/sheet.png", "(24, 32, 32, 3)"]),
    "two_sizes.py": (["SRC", "out"], ["trained 12 of 12 runs", "report.html"]),
    "own_network.py": (["STORE", "run"], ["top-1 error", "logits: (4, 4)"]),
    "torch_dataset.py": (["STORE"], ["epoch 2: loss"]),
    "judge_csv.py": ([], ["size=16 stands in for size=64"]),
}
"""The arguments of each script, and words of its output."""


def test_every_example_is_run_and_short():
    assert sorted(RUNS) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    for name in RUNS:
        assert len((EXAMPLES / name).read_text().splitlines()) < 40, name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from lowres.store.build import build
    from lowres.store.options import BuildOptions

    draw_source(tmp_path / "SRC")
    build(tmp_path / "SRC", tmp_path / "STORE", BuildOptions(size=(8,), filter=("box",)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_example_runs_as_its_docstring_says(name, folder):
    arguments, expected = RUNS[name]
    command = [sys.executable, EXAMPLES / name, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for words in expected:
        assert words in run.stdout
