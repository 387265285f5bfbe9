"""The command line as users meet it: output, exit status, words of errors."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from images import draw_source
from lowres import cli

TINY = ["--width", "0.5", "--blocks", "1", "--epochs", "1", "--batch-size", "8"]


def lowres(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lowres", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run in this process, which is quicker."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture(autouse=True)
def keep_signals(monkeypatch):
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)


def test_the_whole_way(tmp_path):
    draw_source(tmp_path / "animals")
    built = lowres("build", "animals", "store", "--size", "8", "16", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert built.stdout == "store: 24 train, 12 val; 8-box, 16-box\n"
    assert "build: 36/36" in built.stderr
    assert lowres("verify", "store", cwd=tmp_path).returncode == 0
    assert lowres("show", "store", "--out", "sheet.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    axes = ("--axis", "variant=8-box,16-box")
    study = lowres("study", "store", *axes, *TINY, cwd=tmp_path)
    assert study.returncode == 0, study.stderr
    assert "2 of 2 runs finished, 0 failed" in study.stdout
    assert study.stderr.count("top-1 error") == 2
    again = lowres("study", "study", cwd=tmp_path)
    assert again.returncode == 0
    assert "top-1 error" not in again.stderr
    report = lowres("report", "study", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert "8-box for 16-box: undecided: 1 configuration, 1 seed" in report.stdout
    assert (tmp_path / "study" / "report.html").exists()


def test_train_a_store_then_finish_the_run(store_path, tmp_path):
    trained = lowres("train", store_path, "--variant", "8-box", *TINY, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert re.search(
        r"WRN-6-0\.5 \(\d,\d+ parameters\): val top-1 error \d+\.\d\d %", trained.stdout
    )
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("8-box-k0.5-lr0.01-e1-s0-")
    (run / "result.json").unlink()
    assert lowres("train", run).returncode == 0
    assert (run / "result.json").exists()


@pytest.mark.parametrize(
    "verb",
    [["train"], ["study", "--axis", "lr=0.1"],
     ["search", "--sizes", "8", "--space", "lr=0.1,0.2", "--budget", "2"]],
)  # fmt: skip
@pytest.mark.parametrize("flags", [["--optimizer", "torch.optim:Adamm"], ["--model", "no_such:x"]])
def test_a_slip_in_a_name_leaves_nothing_behind(store_path, tmp_path, capsys, verb, flags):
    first, *rest = verb
    where = ["--out", tmp_path / "out"]
    status, _, told = call(capsys, first, store_path, *rest, *flags, *where)
    assert status == 1
    assert f"{flags[0].removeprefix('--')} {flags[1]}: " in told
    assert not (tmp_path / "out").exists()


def test_every_verb_has_help(capsys):
    verbs = ["build", "demo", "export", "info", "report", "search", "show", "status", "study",
             "train", "verify"]  # fmt: skip
    _, overview, _ = call(capsys, "--help")
    for verb in verbs:
        assert verb in overview
        status, text, _ = call(capsys, verb, "--help")
        assert status == 0
        assert "Usage: lowres" in text
    assert call(capsys, "--version")[1].strip().count(".") == 2


def test_every_recipe_field_is_a_flag_with_help_and_default(capsys):
    import dataclasses

    from lowres.recipe import Recipe

    text = " ".join(call(capsys, "train", "--help")[1].split())
    for field in dataclasses.fields(Recipe):
        assert f"--{field.name.replace('_', '-')}" in text
        if field.default is not None and not isinstance(field.default, tuple):
            assert f"[default: {field.default}]" in text.replace(" │ │ ", " ")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["build", "nowhere", "store"], 1, "source nowhere does not exist"),
        (["build", "{source}", "x", "--size", "0"], 1, "size must be 1 to 1024 pixels, was 0"),
        (["build", "{source}", "x", "--filter", "boxx"], 2, 'Did you mean "box"'),
        (["build", "{source}", "x", "--val-fraction", "0.1"], 1, "this one has train, val"),
        (["build", "{source}", "x", "--classes", "ant", "bea"], 1, "did you mean bee"),
        (["build", "{source}", "x", "--worker", "2"], 2, "--workers"),
        (["build", "{source}", "x", "--workers", "0"], 1, "--workers must be at least 1, was 0"),
        (["verify", "nowhere"], 1, "store nowhere does not exist"),
        (["train", "{store}"], 1, "has no variant 32-box; it has 8-box"),
        (["train", "{store}", "--lr", "0"], 1, "lr must be above 0"),
        (["train", "{store}", "--lr", "fast"], 2, "lr"),
        (["study", "{store}", "--axis", "lr"], 1, "an axis is written FIELD=VALUE"),
        (["study", "{store}", "--axis", "lr=1", "--seeds", "0"], 1, "--seeds must be at least 1"),
        (["study", "{store}", "--axis", "lr=log:0:1:3"], 1, "must have ends above 0"),
        (["study", "{store}", "--axis", "sise=8"], 1, "did you mean size"),
        (
            ["study", "{store}", "--axis", "variant=8-box,16-box", "--axis", "size=8"],
            1,
            "variant and its part size cannot both be set or swept",
        ),
        (["study", "{store}", "--axis", "lr=1", "--lr", "2"], 1, "lr is swept: leave --lr out"),
        (["study", "{store}", "--axis", "seed=1,2", "--seeds", "2"], 1, "not by both"),
        (
            [
                "study",
                "{store}",
                "--axis",
                "seed=lin:0:999:1000",
                "--axis",
                "lr=lin:1:99:99",
                "--print-commands",
            ],
            1,
            "span 99,000",
        ),
        (["study", "{store}", "--jobs", "0"], 1, "--jobs must be at least 1, was 0"),
        (["study", "{store}", "--threads", "-1"], 1, "--threads must be at least 1, was -1"),
        (["study", "{store}", "--address", "a:1"], 1, "--address a:1 is for --executor ray"),
        (
            ["study", "{store}", "--executor", "ray", "--device", "cuda:1"],
            1,
            "--device cuda:1 names a GPU of one machine",
        ),
        (["study", "{store}", "--dry-run", "--print-commands"], 1, "give one of them"),
        (["study", "{store}", "--dry-run", "--executor", "ray"], 1, "measures this machine"),
        (["study", "{store}", "--print-commands", "-j", "2"], 1, "runs nothing: leave"),
        (["study", "{store}", "--plan", "none.toml"], 1, "plan none.toml cannot be read"),
        (
            ["study", "{store}", "--variant", "8-box", "--out", "{store}/manifest.json"],
            1,
            "must be a directory, and is a file",
        ),
        (
            ["study", "{store}", "--variant", "8-box", "--out", "{store}", "--dry-run"],
            1,
            "neither empty nor a study",
        ),
        (["status", "nowhere"], 1, "nowhere holds no runs"),
        (["study", "nowhere"], 1, "store nowhere does not exist"),
        (["report", "{source}"], 1, "holds no runs"),
        (["info", "nowhere"], 1, "nowhere does not exist"),
        (["show", "{store}", "--out", "sheet.jpg"], 1, "name it .png, was sheet.jpg"),
        (["show", "{store}", "--count", "0"], 1, "--count must be at least 1, was 0"),
        (["nothing"], 2, "nothing"),
    ],
)
def test_errors(capsys, source, store_path, tmp_path, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    filled = [a.format(source=source, store=store_path) for a in arguments]
    ended, out, err = call(capsys, *filled)
    assert ended == status, err
    assert words in " ".join((out + err).replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "x" / "manifest.json").exists()


def test_info(capsys, source, store_path):
    _, text, _ = call(capsys, "info", store_path)
    assert "source: folder animals, layout split/class" in text
    assert "train: 24 images" in text
    assert "classes: 4, ant, bee, cat, dog" in text
    _, text, _ = call(capsys, "info", source)
    assert f"source {source}: folder, layout split/class" in text


def test_verify_finds_a_flipped_bit(capsys, store_path, tmp_path):
    copy = shutil.copytree(store_path, tmp_path / "copy")
    data = bytearray((copy / "val" / "8-box.npy").read_bytes())
    data[500] ^= 4
    (copy / "val" / "8-box.npy").write_bytes(data)
    status, text, _ = call(capsys, "verify", copy)
    assert status == 1
    assert "val/8-box.npy has changed" in text


def test_classes_from_a_file(capsys, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.txt").write_text("# of four\ndog\n\nant\n")
    status, _, err = call(capsys, "build", source, "store", "--size", "4", "--classes", "some.txt")
    assert status == 0, err
    assert "classes: 2, ant, dog" in call(capsys, "info", "store")[1]


@pytest.mark.parametrize(
    ("data", "words"), [(b"# none\n", "names no classes"), (b"\xff\xd8", "must be a text file")]
)
def test_bad_files_of_classes(capsys, source, tmp_path, monkeypatch, data, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.txt").write_bytes(data)
    status, _, err = call(capsys, "build", source, "store", "--classes", "some.txt")
    assert status == 1
    assert words in err
    assert not (tmp_path / "store").exists()


def test_skipping_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = draw_source(tmp_path / "animals")
    (source / "train" / "cat" / "03.jpg").write_bytes(b"x")
    status, _, err = call(capsys, "build", source, "store", "--size", "4")
    assert status == 1
    assert "03.jpg cannot be read: is none of JPEG" in err
    status, out, err = call(capsys, "build", source, "store", "--size", "4", "--on-error", "skip")
    assert status == 0
    assert "skipped 1 images that cannot be decoded" in err
    assert "train/cat/03.jpg: is none of JPEG" in err
    assert "store: 23 train, 12 val" in out
    assert "train: 1 images skipped" in call(capsys, "info", "store")[1]


def test_a_failed_run_gives_status_1_and_is_named(tmp_path, store_path):
    study = lowres(
        "study", store_path, "--axis", "batch_size=8,999", *TINY[:-2], "--variant", "8-box",
        cwd=tmp_path,
    )  # fmt: skip
    assert study.returncode == 1
    assert "1 of 2 runs finished, 1 failed" in study.stdout
    assert "RunError: train has 24 images, fewer than a batch of 999" in study.stdout
    report = lowres("report", "study", cwd=tmp_path)
    assert report.returncode == 0
    assert "fewer than a batch of 999" in (tmp_path / "study" / "report.html").read_text()


def test_a_missing_extra_says_what_to_install(capsys, store_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, err = call(capsys, "train", store_path, "--variant", "8-box")
    assert status == 1
    assert "needs torch, which is not installed; run: pip install " in err


PLAN = """
seeds = 2
[base]
width = 0.5
blocks = 1
epochs = 1
batch_size = 8
[axes]
size = [8, 16]
[[runs]]
size = 8
lr = 0.3
"""


def test_a_plan_a_dry_run_commands_and_their_status(capsys, store_path, tmp_path, monkeypatch):
    """As one would go about it with a queue."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["study", store_path, "--plan", "plan.toml", "--out", "it's here"]
    ended, table, _ = call(capsys, *command, "--dry-run")
    assert ended == 0
    assert "6 runs, 0 of them finished" in table
    assert not (tmp_path / "it's here").exists()
    ended, commands, errors = call(capsys, *command, "--print-commands", "--device", "cpu")
    assert (ended, errors) == (0, "")
    lines = commands.splitlines()
    assert len(lines) == 6
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert "it's here: 6 planned; time left: not known" in call(capsys, "status", "it's here")[1]
    words = shlex.split(lines[0])
    assert words[:2] == ["lowres", "train"]
    assert words[3:] == ["--device", "cpu"]
    assert call(capsys, *words[1:])[0] == 0
    left = call(capsys, "study", "it's here", "--print-commands", "--device", "cpu")[1]
    assert left.splitlines() == lines[1:]
    told = call(capsys, "status", "it's here")[1]
    assert "1 trained, 5 planned; about " in told
    record = json.loads(call(capsys, "status", "it's here", "--json")[1])
    assert record["counts"]["trained"] == 1
    text = call(capsys, "info", "it's here")[1]
    assert "1 trained, 5 planned" in text
    assert "axis size: 8, 16" in text
    assert "run it's here" not in text
    assert "trained" in call(capsys, "info", words[2])[1]


def test_a_swept_size_in_record_and_report(capsys, store_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = ["--axis", "size=8,16", "--axis", "filter=box,lanczos", "--print-commands", *TINY]
    assert call(capsys, "study", store_path, *sweep)[0] == 0
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert record["axes"] == {"size": [8, 16], "filter": ["box", "lanczos"], "seed": [0]}
    assert sorted(name.split("-k")[0] for name in record["runs"]) == [
        "16-box", "16-lanczos", "8-box", "8-lanczos",
    ]  # fmt: skip
    assert call(capsys, "report", "study")[0] == 0
    assert "16-lanczos" in (tmp_path / "study" / "report.html").read_text()
    # It may grow by more values of what was swept, whatever the base's own size is,
    assert call(capsys, "study", store_path, *sweep, "--variant", "16-box")[0] == 0
    # but not by what was held fixed, nor by a sweep of whole variants.
    sizes = ["--axis", "size=8,16", "--print-commands", *TINY[:-4], "--batch-size", "8"]
    sizes += ["--out", "sizes", "--variant"]
    assert call(capsys, "study", store_path, *sizes, "32-box", "--epochs", "1")[0] == 0
    for variant, epochs, words in (
        ("32-lanczos", "1", "with filter box, and this asks for lanczos"),
        ("32-box", "3", "with epochs 1, and this asks for 3"),
    ):
        flags = [*sizes, variant, "--epochs", epochs]
        assert words in call(capsys, "study", store_path, *flags)[2]
    whole = ["--axis", "variant=8-box", "--print-commands", *TINY]
    assert (
        "was planned with axes size, filter, seed: variant and its part size"
        in (call(capsys, "study", store_path, *whole)[2])
    )


@pytest.mark.parametrize(
    ("gpus", "given", "expected"),
    [
        (4, {}, (4, ("0", "1", "2", "3"))),
        (4, {"device": "cuda"}, (4, ("0", "1", "2", "3"))),
        (4, {"jobs": 8}, (8, ("0", "1", "2", "3"))),
        (4, {"device": "cuda:2"}, (1, ())),
        (4, {"device": "cpu"}, (2, ())),
        (1, {}, (1, ())),
        (0, {}, (2, ())),
    ],
)
def test_gpus_and_cores_are_shared_out(monkeypatch, gpus, given, expected):
    """With GPUs that are only said to be there."""
    import torch

    from lowres.cli import studies

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr("lowres.work.processes.available_cores", lambda: 2)
    executor = studies._local(studies.StudyWorking(**given), 6)
    assert (executor.jobs, executor.gpus) == expected


def test_a_search_goes_on_and_refuses_what_would_change_nothing(store_path, tmp_path, capsys):
    small = ["--width", "0.5", "--blocks", "1", "--batch-size", "8", "--out", tmp_path / "search"]
    search = ["search", store_path, "--sizes", "8", "16", "--space", "lr=0.01,0.1"]
    for more, words in [
        ([], "give --budget 10 to train as much as 10 runs"),
        (["--budget", "1.4", "--lr", "1"], "lr is searched: leave --lr out"),
        (["--budget", "1.4", "--rung-epochs", "1", "1", "--epochs", "2"], "leave --epochs out"),
        (["--budget", "1.4", "--variant", "8-box"], "--variant 8-box must have the largest of"),
        (["--budget", "1.4", "--executor", "ray"], "--executor ray needs --jobs here"),
    ]:
        status, _, refused = call(capsys, *search, *small, *more)
        assert (status, words in refused) == (1, True), refused
    assert not (tmp_path / "search").exists()
    search += [*small, "--budget", "1.4", "--epochs", "1", "--jobs", "1"]
    status, told, _ = call(capsys, *search)
    assert status == 0
    assert "configurations 2 at 8 px, 1 at 16 px; 1 chosen and trained at a time" in told
    assert re.search(r"best at 16 px: top-1 error \d+\.\d\d % with lr 0\.1?", told)
    status, _, refused = call(capsys, "search", tmp_path / "search", "--budget", "2")
    assert (status, "has its plan: leave other flags out" in refused) == (1, True), refused
    again = call(capsys, "search", tmp_path / "search")
    assert again[:2] == (0, told.partition("\n")[2])
    assert "search" in call(capsys, "info", tmp_path / "search")[1]
    assert "3 finished" in call(capsys, "status", tmp_path / "search")[1]
    assert call(capsys, "report", tmp_path / "search")[0] == 0
