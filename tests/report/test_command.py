"""`lowres report` as it is typed."""

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from lowres.cli import reports
from lowres.cli.app import app
from lowres.recipe import Recipe
from lowres.report.files import Format
from made_runs import write_run, write_study


def report(*arguments):
    command = [sys.executable, "-m", "lowres", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_formats_are_written_and_verdicts_printed(tmp_path):
    folder = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0,))
    done = report(folder, "--format", "md", "csv", "--format", "png")
    assert done.returncode == 0, done.stderr
    verdict, halving, shift, *paths = done.stdout.splitlines()
    assert verdict.startswith("8-box")
    assert "for 16-box" in verdict
    assert halving.startswith("Successive halving over 8, 16 px, one in 3 kept, ")
    assert shift.startswith("Best learning rate from 8-box to 16-box: ")
    assert paths[:2] == [str(folder / "report.md"), str(folder / "runs.csv")]
    assert all(path.endswith(".png") for path in paths[2:])
    assert not (folder / "report.html").exists()


def test_a_run_is_reported_with_its_classes(tmp_path, capsys):
    worst = {"class": "n02123045", "images": 20, "error": 0.6}
    pair = {"class": "n02123045", "taken_for": "n02123159", "images": 5, "share": 0.25}
    classes = {"balanced_error": 0.5, "worst_classes": [worst], "confused_classes": [pair]}
    run = write_run(tmp_path, Recipe(epochs=1), 0.4, **classes)
    app(["report", str(run), "--format", "md"], result_action="return_value")
    assert capsys.readouterr().out.splitlines() == [
        (
            "WRN-12-1 (310,164 parameters): val top-1 error 40.00 %, top-5 error 13.33 %; 3.6 s of "
            "training, 1,000 images/s"
        ),
        (
            "Balanced error of the best run on val: 50.0 %, with equal weight for each class; over "
            "all images 40.0 %."
        ),
        "Classes with most errors in the best run: n02123045 tabby (12 of 20).",
        (
            "Classes that the best run confuses: n02123045 tabby taken for n02123159 tiger_cat "
            "(5 of 20)."
        ),
        str(run / "report.md"),
    ]


def test_an_unknown_format_is_refused(tmp_path):
    done = report(tmp_path, "--format", "pdf")
    assert done.returncode != 0
    assert "html" in done.stderr
    assert not any(tmp_path.iterdir())


def test_the_flag_takes_every_format():
    flag = get_args(get_type_hints(reports.report)["formats"])[0]
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
