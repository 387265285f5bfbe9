"""The notebook: every cell runs, in order, with fewer epochs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "zero_to_verdict.ipynb"


@pytest.mark.slow
@pytest.mark.skipif(not NOTEBOOK.exists(), reason="the notebook is not here")
def test_every_cell_runs(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        text = "".join(cell["source"]).replace("\\\n", " ").replace("--epochs 6", "--epochs 1")
        for line in (line for line in text.splitlines() if line.startswith("!")):
            command = line[1:].replace("=0.0001,0.001,0.01,0.1,1 ", "=0.01,0.1 ")
            run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{command}\n{run.stderr}"
        rest = "\n".join(line for line in text.splitlines() if not line.startswith("!"))
        exec(rest, names)
    assert len(names["runs"]) == 12
    assert (tmp_path / "study" / "report.html").exists()
    assert (tmp_path / "sheet.png").exists()
