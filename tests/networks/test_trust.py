"""Code that a recipe names is imported only if the user named it, too."""

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lowres
from lowres import cli
from lowres.cli.info import describe
from lowres.errors import RunError, UntrustedError
from lowres.networks.imported import refuse_untrusted, trust_flags
from lowres.networks.make import make_network
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.forecast import forecast
from lowres.study.status import standings
from lowres.study.study import Study
from lowres.training.execution import Execution
from lowres.training.run import Run
from lowres.work.processes import LocalProcesses
from made_runs import MadeUp, fail_run, write_run
from vision import vision

NET = """
from pathlib import Path
from torch import nn

Path("imported.txt").write_text("this code ran")

def net(classes, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))
"""
BASE = Recipe(variant="8-box", epochs=1, batch_size=8)
TINY = ("--variant", "8-box", "--epochs", "1", "--batch-size", "8", "-q", "--device", "cpu")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a module that leaves a trace if it is imported."""
    (tmp_path / "strange.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    yield tmp_path
    sys.modules.pop("strange", None)


def ran(here: Path) -> bool:
    return (here / "imported.txt").exists()


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return ended.value.code


@pytest.mark.parametrize("field", ["model", "optimizer", "schedule"])
def test_a_run_of_a_stranger_is_refused_in_one_sentence(here, store, capsys, field):
    recipe = dataclasses.replace(BASE, **{field: "strange:net"})
    Run.plan(Path("given run"), recipe, store)
    assert run("train", "given run", "-q") == 1
    said = capsys.readouterr().err
    assert said == (
        f"lowres: the recipe would run code that you have not trusted: {field} strange:net (import "
        "strange, call net); if you trust it, run: lowres train 'given run' -q --trust "
        "strange:net\n"
    )
    assert not ran(here)
    assert {path.name for path in Path("given run").iterdir()} == {"recipe.json"}


@pytest.mark.full
def test_the_command_of_the_refusal_trains_it(here, store, capsys):
    Run.plan(Path("given"), dataclasses.replace(BASE, model="strange:net"), store)
    assert run("train", "given", "-q", "--device", "cpu") == 1
    command = capsys.readouterr().err.rpartition("run: ")[2]
    assert run(*shlex.split(command)[1:]) == 0
    assert ran(here)
    assert lowres.load_network("given").classes == store.classes


@pytest.mark.full
def test_weights_of_a_stranger_import_nothing(here, store):
    lowres.trust("strange:net")
    lowres.train(store, dataclasses.replace(BASE, model="strange:net"), "run")
    Path("imported.txt").unlink()
    del sys.modules["strange"]
    fresh = "import sys; sys.path.append('.'); import lowres; lowres.load_network('run')"
    ended = subprocess.run([sys.executable, "-c", fresh], capture_output=True, text=True)
    assert "UntrustedError: the recipe would run code" in ended.stderr
    assert "call lowres.trust('strange:net') first" in ended.stderr
    assert not ran(here)


@pytest.mark.parametrize("verb", ["study", "search", "decide"])
def test_names_in_the_files_of_studies_are_refused(here, store, capsys, verb):
    other = dataclasses.replace(BASE, model="strange:net")
    if verb == "search":
        space = ("--space", "lr=0.01,0.02", "--sizes", "8", "--budget", "2")
        flags = ("--batch-size", "8", "--epochs", "1", "-q")
        assert run("search", str(store.path), *space, *flags, "--model", "missing:x") == 1
        lowres.trust("strange:net")
        from lowres.study.search.plan import SearchPlan

        plan = SearchPlan(base=other, space=("lr=0.01,0.02",), sizes=(8,), budget=2)
        lowres.Search.start(Path("work"), store, plan)
    else:
        sizes = (Axis("size", (8, 16)), Axis("lr", (0.01, 0.02)))
        Study.plan(Path("work"), store, other, sizes)
        if verb == "decide":
            lowres.trust("strange:net")
            study = Study.open(Path("work"))
            done = [one for one in study.runs if one.recipe.size == 8]
            list(MadeUp().finish([_job(one) for one in done]))
    _forget(here)
    assert run(verb, "work", "-q") == 1
    assert f"run: lowres {verb} work -q --trust strange:net" in capsys.readouterr().err
    assert not ran(here)


def _job(one: Run) -> object:
    from lowres.work.executor import Job

    return Job(one.path.name, (), one.path / "train.log")


def _forget(here: Path) -> None:
    from lowres.networks import imported

    imported._trusted.clear()
    sys.modules.pop("strange", None)
    (here / "imported.txt").unlink(missing_ok=True)


def test_a_plan_file_is_not_the_command_line(here, store, capsys):
    Path("plan.toml").write_text('[base]\nmodel = "strange:net"\n[axes]\nlr = [0.01, 0.02]\n')
    words = ("study", str(store.path), "--plan", "plan.toml", *TINY)
    assert run(*words) == 1
    assert "--trust strange:net" in capsys.readouterr().err
    assert not Path("study").exists()
    assert not ran(here)


def test_all_names_are_asked_for_at_once(store, capsys, here):
    Study.plan(Path("study"), store, BASE, (Axis("model", ("a:net", "b.c:net", "wrn")),))
    assert run("study", "study", "--trust", "b.c:net") == 1
    assert capsys.readouterr().err.endswith("lowres study study --trust b.c:net --trust a:net\n")
    with pytest.raises(UntrustedError) as refused:
        Study.open(Path("study")).commands()
    assert refused.value.names == ("a:net",)


@pytest.mark.full
def test_a_study_passes_the_names_of_its_command_line_to_its_workers(here, store, capsys):
    axes = ("--axis", "lr=0.01,0.02", "--axis", "model=wrn,strange:net")
    words = ("study", str(store.path), *axes, *TINY)
    assert run(*words, "--print-commands") == 0
    commands = capsys.readouterr().out.splitlines()
    assert sum("--trust strange:net" in one for one in commands) == 2, "not where it is not used"
    assert run(*words) == 0
    assert "4 of 4 runs finished" in capsys.readouterr().out


@pytest.mark.full
def test_the_probes_of_a_dry_run_are_trusted_as_its_study_is(here, store):
    recipe = dataclasses.replace(BASE, model="strange:net")
    drafts = Study.draft(Path("study"), store, recipe, (Axis("seed", (0,)),))
    executor = LocalProcesses(1, 1)
    with pytest.raises(UntrustedError):
        forecast(store, drafts, executor)
    assert not ran(here)
    lowres.trust("strange:net")
    assert forecast(store, drafts, executor, Execution(device="cpu")).total_s > 0


def test_verbs_that_read_run_nothing(here, store, capsys):
    other = dataclasses.replace(BASE, model="strange:net", optimizer="strange:net")
    place = {"path": str(store.path), "digest": store.manifest.digest}
    write_run(Path("work/runs"), other, 0.5, store=place)
    write_run(Path("work/runs"), dataclasses.replace(other, seed=1), 0.4, store=place)
    fail_run(Path("work/runs/failed"), dataclasses.replace(other, seed=2), "no", store=place)
    Run.plan(Path("work/runs/planned"), dataclasses.replace(other, seed=3), store)
    assert run("status", "work") == 0
    assert run("report", "work") == 0
    assert run("info", str(next(Path("work/runs").glob("8-*")))) == 0
    assert run("verify", str(store.path)) == 0
    Study.plan(Path("study"), store, other, (Axis("seed", (0, 1)),))
    for path in Path("study"), Path("work/runs/planned"):
        assert list(describe(path))
        assert standings(path)
    assert not ran(here)
    assert "strange" not in sys.modules


def test_flags_name_only_the_code_that_is_used():
    lowres.trust("a:net", "b:net")
    assert trust_flags([Recipe(model="a:net"), Recipe()]) == ("--trust", "a:net")
    assert trust_flags([Recipe(model="timm:resnet18", optimizer="torch.optim:SGD")]) == ()
    refuse_untrusted([Recipe(model="timm:resnet18", optimizer="torch.optim:SGD")])
    with pytest.raises(UntrustedError):
        refuse_untrusted([Recipe(optimizer="timm:net")])
    with pytest.raises(UntrustedError):
        refuse_untrusted([Recipe(model="torch.optim:SGD")])
    with pytest.raises(RunError, match=r"must be package\.module:function"):
        lowres.trust("a:net", "import os")


def test_a_changed_name_is_another_name(here, store):
    """Trust in one name does not extend to a name that was put in its place."""
    lowres.trust("strange:net")
    path = Run.plan(Path("run"), dataclasses.replace(BASE, model="strange:net"), store).path
    record = json.loads((path / "recipe.json").read_text())
    record["recipe"]["model"] = "strange:other"
    (path / "recipe.json").write_text(json.dumps(record))
    with pytest.raises(UntrustedError):
        refuse_untrusted([Run.open(path).recipe])


def test_trust_is_in_a_function_with_any_arguments(here):
    recipe = dataclasses.replace(BASE, model="strange:net(depth=2)", schedule="strange:net(a='b')")
    with pytest.raises(UntrustedError) as refused:
        refuse_untrusted([recipe])
    assert refused.value.names == ("strange:net",)
    assert not ran(here)


def test_a_stranger_cannot_make_timm_read_files():
    vision("timm")
    recipe = dataclasses.replace(BASE, model="timm:resnet18(checkpoint_path='weights.pt')")
    with pytest.raises(RunError, match="must not set checkpoint_path: a recipe reads no weights"):
        make_network(recipe, 4)


def test_names_with_arguments_are_trusted_without_them(monkeypatch):
    monkeypatch.setattr("lowres.networks.imported._trusted", set())
    recipe = dataclasses.replace(BASE, model="strange:net(depth=3)")
    lowres.trust(recipe.model)
    refuse_untrusted([recipe, dataclasses.replace(BASE, model="strange:net")])
