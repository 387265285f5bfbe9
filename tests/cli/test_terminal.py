"""Names may hold anything: terminals, tables and shared pages get them harmless."""

import csv
import json
import signal
import sys

import pytest

import lowres
from images import draw_source
from lowres import cli
from lowres.progress import shown
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.study import Study
from lowres.training.run import Run
from made_runs import fail_run

RED = "\x1b[31mred\x1b[0m"
BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


def test_names_of_classes_and_files_are_escaped(tmp_path, run):
    source = draw_source(tmp_path / "images")
    for split in source.iterdir():
        min(split.iterdir()).rename(split / RED)
    broken = next((source / "train" / RED).iterdir())
    broken.with_name("bad\x1b]0;title\x07.png").write_bytes(b"no image")
    store = str(tmp_path / "store")
    status, said = run("build", str(source), store, "--size", "8", "--on-error", "skip")
    assert status == 0, said
    assert r"\u001b]0;title\u0007.png" in said
    manifest = tmp_path / "store" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"bee"', r'"two\nlines"'))  # a stranger's
    for words in (("info", store), ("info", str(source)), ("verify", store), ("nothing", RED)):
        said += run(*words)[1]
    assert r"\u001b[31mred" in said
    assert r"two\u000alines" in said
    assert "\x1b" not in said
    assert "\x07" not in said


@pytest.mark.parametrize("name", [RED, "not\udcffutf", "a\u202eb"])
def test_errors_are_escaped(run, name):
    status, said = run("info", f"missing-{name}")
    assert status == 1
    assert said.startswith(("lowres: missing-", "lowres: source missing-"))
    assert name not in said
    assert said.count("\n") == 1


def test_a_second_line_of_an_error_is_indented(run):
    assert "\n  lowres: all is well" in run("info", "missing\nlowres: all is well")[1]


def test_a_command_under_nohup_survives_its_terminal(store, run, monkeypatch):
    handled = []
    ignores = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr(cli.signal, "getsignal", ignores.get)
    monkeypatch.setattr(cli.signal, "signal", lambda number, _: handled.append(number))
    assert run("info", str(store.path))[0] == 0
    assert handled == [signal.SIGTERM]


def test_progress_is_escaped(capsys):
    with shown("build", 2) as display:
        display.say(RED)
        display.note(RED)
    said = capsys.readouterr().err
    assert r"\u001b[31mred" in said
    assert "\x1b" not in said


def test_commands_for_a_queue_are_exact_or_refused(store, tmp_path, run):
    Study.plan(tmp_path / RED, store, BASE, (Axis("seed", (0,)),))
    status, said = run("study", str(tmp_path / RED), "--print-commands")
    assert status == 1
    assert "has a control character: choose another --out" in said


def test_a_shared_report_names_no_folder_and_computes_nothing(store, tmp_path, monkeypatch):
    home = tmp_path / "home of ann" / "work"
    home.mkdir(parents=True)
    Run.plan(home / "study" / "=HYPERLINK(1)", BASE, store)
    place = {"path": str(home / "data" / "store"), "digest": "0"}
    fail_run(home / "study" / "failed", BASE, f"{home}/data/x.npy and {sys.prefix}/lib/a.py", place)
    (home / "study" / "damaged").mkdir()
    (home / "study" / "damaged" / "recipe.json").write_text("{}")
    written = lowres.write_report(home / "study", ("html", "md", "csv", "json"))
    for path in written.files:
        text = path.read_text()
        assert str(tmp_path) not in text, path.name
        assert "home of ann" not in text, path.name
        assert sys.prefix not in text, path.name
    table = home / "study" / "runs.csv"
    names = [row["run"] for row in csv.DictReader(table.read_text().splitlines())]
    assert "'=HYPERLINK(1)" in names
    record = json.loads((home / "study" / "report.json").read_text())
    assert {"store", str(store.path.name)} & {run["store"]["name"] for run in record["runs"][:2]}
