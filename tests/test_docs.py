"""The documents: every block of code is run or parsed, links lead somewhere, nothing is left out.

`make site` checks the headings that links name, too.

The word after a fence says what happens to the block: `sh` runs line by line, `sh parse` is parsed
by the command line without being run (it would take hours, a cluster or ImageNet), `python` runs,
`toml` is read as a plan of a study, `text` is no code.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
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


def fenced(path: Path) -> list[tuple[str, str]]:
    """List the blocks of a page: what the fence says, and the text."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def commands_in(block: str) -> list[str]:
    joined = block.replace("\\\n", " ")
    lines = (line.split(" #")[0].strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def shell_commands() -> list[str]:
    lines = [line.split("#")[0].strip() for b in blocks(README, "sh") for line in b.splitlines()]
    return [line for line in lines if line and line not in RUN_BY_CI]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    draw_source(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.full
def test_readme_runs_as_printed_from_top_to_bottom(workplace):
    commands = shell_commands()
    assert len(commands) == 13
    for command in commands:
        run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    assert (workplace / "study" / "report.html").exists()
    (code,) = blocks(README, "python")  # in the folder that the commands have left
    assert len(code.strip().splitlines()) <= 12, "about ten lines"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "torch.Size([16, 3, 16, 16])" in run.stdout


def test_readme_is_short_and_names_every_verb():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    verbs = ("build", "info", "verify", "show", "export", "train", "study", "search", "status",
             "report", "judge", "decide")  # fmt: skip
    for verb in (*verbs, "bench"):
        assert f"lowres {verb}" in text
    assert "make demo" in text


def test_readme_names_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for extra in set(extras) - {"docs"}:
        assert f"`{extra}`" in README.read_text()
    (whole,) = extras["all"]
    inside = set(whole.removeprefix("lowres[").removesuffix("]").split(","))
    assert set(extras) - inside == {"all", "docs", "mlflow", "wandb"}, "as README says"


def test_readme_map_names_every_module():
    text = README.read_text()
    for path in (ROOT / "src" / "lowres").rglob("*.py"):
        if not path.name.startswith("_"):
            folder = path.parent.name
            assert path.name in text or f"{folder}/" in text, path


PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md"])
TESTED_ELSEWHERE = ("CONTRIBUTING.md", "own-format.md")
"""Pages whose blocks are not run here: commands of make, and the format that
test_extension_points.py takes through every verb."""


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [README, *PAGES], ids=page_name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if not target.startswith(("https://", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([a-z_/]+/[a-z_0-9]+\.py)`", text)
    assert len(named) > 40
    for name in named:
        assert (ROOT / "src" / "lowres" / name).exists() or (ROOT / name).exists(), name


def entries_of(nav: list | dict | str) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [name for part in parts for name in entries_of(part)]


def test_every_page_has_one_place_on_the_site():
    yaml = pytest.importorskip("yaml")
    listed = entries_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert sorted(listed) == sorted(pages | {"CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"})


def test_the_reference_has_every_verb_and_every_public_name():
    import lowres

    pages = {path.name for path in (ROOT / "tests" / "cli" / "help").iterdir()}
    shown = re.findall(r'^--8<-- "(.+)"$', (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(pages)
    names = re.findall(r"^::: lowres\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(lowres.__all__)


@pytest.mark.parametrize("path", [README, *PAGES], ids=page_name)
def test_every_block_says_what_it_is(path):
    for kind, text in fenced(path):
        assert kind in ("sh", "sh parse", "python", "toml", "text"), f"{path}: {kind!r}\n{text}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_commands_that_are_not_run_are_understood(path):
    from lowres.cli.app import app

    for kind, block in fenced(path):
        for command in commands_in(block) if kind.startswith("sh") else ():
            for words in re.findall(
                r"lowres (?!_)[^|;>&'\"()]*(?:\"[^\"]*\"[^|;>&'\"()]*)*", command
            ):
                tokens = shlex.split(words.replace("$SLURM_ARRAY_TASK_ID", "1"))[1:]
                app.parse_args(tokens, exit_on_error=False, print_error=False)


@pytest.mark.full
@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_blocks_run_as_printed(path, places):
    if path.name in TESTED_ELSEWHERE:
        pytest.skip("run by .ci/run or by test_extension_points.py")
    for kind, block in fenced(path):
        for command in commands_in(block) if kind == "sh" else ():
            run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{command}\n{run.stderr}"
        if kind == "python":
            words = [sys.executable, "-c", block]
            run = subprocess.run(words, capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{block}\n{run.stderr}"
        if kind == "toml":
            tomllib.loads(block)


@pytest.fixture
def places(workplace):
    """What pages call SRC, STORE and STUDY, a store of 8 and 16 px, and what the demo leaves."""
    from lowres.store.build import build
    from lowres.store.options import BuildOptions
    from made_runs import write_study

    (workplace / "images").rename(workplace / "SRC")
    build(workplace / "SRC", workplace / "STORE", BuildOptions(size=(8, 16), filter=("box",)))
    (workplace / "store").symlink_to("STORE")
    write_study(workplace / "STUDY", sizes=(8, 16), seeds=1)
    (workplace / "demo").mkdir()
    (workplace / "demo" / "images").symlink_to("../SRC")
    (workplace / "demo" / "study").symlink_to("../STUDY")
    return workplace


@pytest.mark.parametrize("name", ["index.md", "results.md", "statistics-in-words.md"])
def test_pages_quote_the_verdict_on_the_table_of_the_demo(name):
    from lowres.study.judging import judge_table
    from lowres.study.results_files import Columns, read_results

    table = read_results(
        ROOT / "bench" / "results" / "demo.csv", Columns(error="top1_error", axes=("variant", "lr"))
    )
    sentence = judge_table(table, "variant=8-box", "variant=16-box").sentence()
    for side, size in (("variant=8-box", "size=8"), ("variant=16-box", "size=16")):
        sentence = sentence.replace(side, size)
    page = " ".join((ROOT / "docs" / name).read_text().replace("\n> ", "\n").split())
    assert sentence in page


def test_the_readme_quotes_the_verdict_of_the_page_of_results():
    quotes = [line for line in README.read_text().splitlines() if line.startswith(">")]
    sentence = " ".join(line.removeprefix("> ") for line in quotes)
    page = (ROOT / "docs" / "results.md").read_text().replace("\n>  ", "")
    assert sentence in page
    assert sentence.startswith("size=8 stands in")
