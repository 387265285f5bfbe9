"""The documents: commands run as printed, links lead somewhere, every verb is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from images import draw_source

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RUN_BY_CI = {"make demo", "make test", "make test lint", "pip install '.[all]'"}
"""Commands that `.ci/run` itself runs, the last one in the Makefile's own form."""

pytestmark = pytest.mark.skipif(not README.exists(), reason="the documents are not here")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def shell_commands() -> list[str]:
    lines = [line.split("#")[0].strip() for b in blocks(README, "sh") for line in b.splitlines()]
    return [line for line in lines if line and line not in RUN_BY_CI]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    draw_source(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_readme_commands_run_as_printed(workplace):
    commands = shell_commands()
    assert len(commands) == 12
    for command in commands:
        run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    assert (workplace / "study" / "report.html").exists()


def test_readme_python_runs_as_printed(workplace):
    (code,) = blocks(README, "python")
    assert len(code.strip().splitlines()) <= 12, "about ten lines"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "torch.Size([16, 3, 16, 16])" in run.stdout


def test_readme_is_short_and_names_every_verb():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    verbs = ("build", "info", "verify", "show", "export", "train", "study", "search", "status",
             "report")  # fmt: skip
    for verb in (*verbs, "bench"):
        assert f"lowres {verb}" in text
    assert "make demo" in text


def test_readme_map_names_every_module():
    text = README.read_text()
    for path in (ROOT / "src" / "lowres").rglob("*.py"):
        if not path.name.startswith("_"):
            folder = path.parent.name
            assert path.name in text or f"{folder}/" in text, path


@pytest.mark.parametrize("path", [README, *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"])
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target
