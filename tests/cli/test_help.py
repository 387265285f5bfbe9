"""What --help shows at 80 columns; run this file as a script to write the pages again."""

import contextlib
import io
import os
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest
from cyclopts import App

from lowres import cli
from lowres.cli.app import VERBS as TABLE
from lowres.recipe import Recipe
from lowres.store.options import BuildOptions, Working
from lowres.study.search.plan import SearchPlan
from lowres.training.execution import Execution

PAGES = Path(__file__).parent / "help"
VERBS = ("build", "info", "verify", "check", "show", "export", "publish", "fid", "train", "study",
         "status", "search", "report", "judge", "decide", "reproduce", "demo", "bench build",
         "help")  # fmt: skip


def help_page(verb: str) -> str:
    screen = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    output = io.StringIO()
    shown = contextlib.redirect_stdout(output)
    with mock.patch.dict(os.environ, screen), shown, contextlib.suppress(SystemExit):
        cli.main([*verb.split(), "--help"])
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def page_path(verb: str) -> Path:
    return PAGES / f"{verb.replace(' ', '-') or 'lowres'}.txt"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_as_recorded(verb):
    assert help_page(verb) == page_path(verb).read_text(), (
        f"if the change is meant, run: python {Path(__file__).name}"
    )


def test_every_verb_is_in_the_overview_and_every_page_belongs_to_a_verb():
    overview = page_path("").read_text()
    assert all(f"│ {verb.split()[0]} " in overview for verb in VERBS)
    places = [overview.index(f"│ {verb.split()[0]} ") for verb in VERBS]
    assert places == sorted(places), "the overview lists verbs in the order of the work"
    assert {path.name for path in PAGES.iterdir()} == {page_path(v).name for v in ("", *VERBS)}


@pytest.mark.parametrize(("path", "summary"), [row[1:] for row in TABLE])
def test_the_overview_shows_the_first_line_of_the_help(path, summary):
    module, _, verb = path.partition(":")
    function = getattr(import_module(f"lowres.cli.{module}"), verb)
    text = function.help if isinstance(function, App) else function.__doc__
    assert summary == text.partition("\n")[0]


@pytest.mark.parametrize(
    ("verb", "record", "without"),
    [
        ("build", BuildOptions, ()),
        ("build", Working, ()),
        ("train", Recipe, ()),
        ("train", Execution, ()),
        ("search", SearchPlan, ("base",)),
    ],
)
def test_every_field_of_a_record_is_a_flag_with_its_default(verb, record, without):
    page = " ".join(page_path(verb).read_text().replace("│", " ").split())
    for field in fields(record):
        if field.name not in without:
            flag = f"--{field.name.replace('_', '-')}"
            assert f"{flag} " in page
            if isinstance(field.default, int | float | str) and field.default is not False:
                assert f"[default: {field.default}]" in page.partition(f"{flag} ")[2]


def test_help_of_a_verb(call):
    status, page, _ = call("help", "bench", "build")
    assert status == 0
    assert "Usage: lowres bench build" in page
    assert "Usage: lowres COMMAND" in call("help")[1]
    status, _, words = call("help", "biuld")
    assert (status, words) == (1, "lowres: there is no verb biuld; did you mean build?\n")


def test_completion_is_installed_for_a_shell(tmp_path, monkeypatch, call):
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "lowres.bash"
    status, words, _ = call("--install-completion", "--shell", "bash", "--output", script)
    assert status == 0
    assert f"installed to {script}" in words
    assert "--val-fraction" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


if __name__ == "__main__":
    for name in ("", *VERBS):
        page_path(name).write_text(help_page(name))
