"""The command line as users meet it: output, exit status, words of errors."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from images import draw_source
from lowres.cli import execution
from lowres.recipe import Recipe
from lowres.study.forecast import Speed
from lowres.training.run import Run
from made_runs import broken_network

TINY = ["--width", "0.5", "--blocks", "1", "--epochs", "1", "--batch-size", "8"]


def test_a_build_as_it_is_typed(tmp_path):
    draw_source(tmp_path / "animals")
    command = [sys.executable, "-m", "lowres", "build", "animals", "store", "--size", "8,16"]
    built = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert built.stdout == (
        "classes: 4, ant, bee, cat, dog; 6 images each in train\n"
        "store: 24 train, 12 val; 8-box, 16-box\n"
    )
    assert "build: 36/36" in built.stderr


@pytest.mark.full
def test_a_study_with_a_failed_run_its_status_and_report(call, store_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = f"model=wrn,{broken_network(tmp_path, monkeypatch)}"
    axes = ["--axis", models, "--variant", "8-box"]
    status, shown, progress = call("study", store_path, *axes, *TINY)
    assert status == 1
    assert "cannot be made for 4 classes at 8 px: broken" in shown
    last = shown.splitlines()[-1]
    assert last.startswith("study: 1 of 2 runs finished, 1 failed; to try again, run: lowres study")
    assert last.endswith("run: lowres report study")
    assert progress.count("top-1 error") == 1
    assert "1 failed" in call("status", "study")[1]
    assert call("report", "study")[0] == 0
    assert "cannot be made for 4 classes" in (tmp_path / "study" / "report.html").read_text()


def test_train_a_store_then_finish_the_run(call, store_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, shown, _ = call("train", store_path, "--variant", "8-box", *TINY)
    assert status == 0
    assert re.search(r"WRN-8-0\.5 \(\d,\d+ parameters\): val top-1 error \d+\.\d\d %", shown)
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("8-box-k0.5-lr0.01-e1-s0-")
    (run / "result.json").unlink()
    status, _, progress = call("train", run, "--quiet")
    assert (status, progress) == (0, "")
    assert (run / "result.json").exists()
    status, _, refused = call("train", run, "--lr", "1")
    assert (status, "is a run, and its recipe is fixed" in refused) == (1, True)


@pytest.mark.parametrize(
    "verb",
    [["train"], ["study", "--axis", "lr=0.1"],
     ["search", "--sizes", "8", "--space", "lr=0.1,0.2", "--budget", "2"]],
)  # fmt: skip
@pytest.mark.parametrize("flags", [["--optimizer", "torch.optim:Adamm"], ["--model", "no_such:x"]])
def test_a_typo_in_a_name_leaves_nothing_behind(call, store_path, tmp_path, verb, flags):
    first, *rest = verb
    status, _, words = call(first, store_path, *rest, *flags, "--out", tmp_path / "out")
    assert status == 1
    assert f"{flags[0].removeprefix('--')} {flags[1]}: " in words
    assert not (tmp_path / "out").exists()


OF_8_PX = ["study", "{store}", "--axis", "size=8", "--batch-size", "8"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["build", "nowhere", "store"], 1, "source nowhere does not exist"),
        (["build", "{source}", "x", "--size", "0"], 1, "size must be 1 to 1024 pixels, was 0"),
        (["build", "{source}", "x", "--filter", "boxx"], 2, 'Did you mean "box"'),
        (["build", "{source}", "x", "--val-fraction", "0.1"], 1, "this source has train, val"),
        (["build", "{source}", "x", "--classes", "ant", "bea"], 1, "did you mean bee"),
        (["build", "{source}", "x", "--worker", "2"], 2, "--workers"),
        (["build", "{source}", "x", "--workers", "0"], 1, "--workers must be at least 1, was 0"),
        (["verify", "nowhere"], 1, "store nowhere does not exist"),
        (
            ["train", "{store}"],
            1,
            "it has 8-box, 8-lanczos, 16-box, 16-lanczos: choose one, such as --variant 16-lanczos",
        ),
        (["train", "{store}", "--lr", "0"], 1, "lr must be from 1e-30"),
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
        (["study", "{store}", "--dry-run", "--print-commands"], 1, "choose one of them"),
        (["study", "{store}", "--dry-run", "--executor", "ray"], 1, "measures this machine"),
        (["study", "{store}", "--noise", "1"], 1, "add --dry-run, or leave it out"),
        (["study", "{store}", "--dry-run", "--noise", "0"], 1, "--noise must be above 0 and"),
        (["report", "{store}", "--bearable", "200"], 1, "--bearable must be from 0 to 100"),
        (["study", "{store}", "--print-commands", "-j", "2"], 1, "runs nothing: leave out"),
        (["study", "{store}", "--plan", "none.toml"], 1, "plan none.toml cannot be read"),
        (
            [*OF_8_PX, "--out", "{store}/manifest.json"],
            1,
            "must be a directory, but it is a file",
        ),
        (
            [*OF_8_PX, "--out", "{store}", "--dry-run"],
            1,
            "neither empty nor a study",
        ),
        (["status", "nowhere"], 1, "nowhere holds no runs"),
        (["study", "nowhere"], 1, "store nowhere does not exist"),
        (["report", "{source}"], 1, "holds no runs"),
        (["info", "nowhere"], 1, "nowhere does not exist"),
        (["show", "{store}", "--out", "sheet.jpg"], 1, "name it sheet.png, not sheet.jpg"),
        (["show", "{store}", "--count", "0"], 1, "--count must be at least 1, was 0"),
        (["nothing"], 2, "nothing"),
    ],
)
def test_errors(call, source, store_path, tmp_path, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    ended, out, err = call(*(one.format(source=source, store=store_path) for one in arguments))
    assert ended == status, err
    assert words in f"{out}{err}"
    assert "Traceback" not in err
    assert not (tmp_path / "x" / "manifest.json").exists()


def test_a_command_that_is_not_understood_names_its_help(call):
    assert call("build", "a", "b", "--siz", "8") == (
        2, "", ("lowres: there is no flag --siz; did you mean --size?\n"
        "for help, run: lowres build --help\n"),
    )  # fmt: skip
    for arguments, words in (
        (["show", "store", "--quiet"], "there is no flag --quiet"),
        (["build", "images"], "STORE is missing"),
        (["export", "store", "folder"], "--to is missing"),
        (["build", "images", "store", "--shard"], "--shard needs a value"),
        (["build", "images", "store", "x"], "too many arguments: x"),
    ):
        help_command = f"for help, run: lowres {arguments[0]} --help"
        assert call(*arguments) == (2, "", f"lowres: {words}\n{help_command}\n")


@pytest.mark.parametrize(
    ("arguments", "words", "help_command"),
    [
        (["biuld", "images", "store"], "verb biuld; did you mean build?", "lowres --help"),
        (["xyz"], "verb xyz", "lowres --help"),
        (["--hepl"], "flag --hepl; did you mean --help?", "lowres --help"),
        (["bench", "biuld"], "verb biuld; did you mean build?", "lowres bench --help"),
    ],
)
def test_a_misspelt_verb_names_the_nearest(call, arguments, words, help_command):
    said = f"lowres: there is no {words}\nfor help, run: {help_command}\n"
    assert call(*arguments) == (2, "", said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "images", "s3://bucket/store"],
        ["build", "images", "gs://bucket/store"],
        ["verify", "https://example.org/x.tar"],
        ["export", "store", "hf://me/set", "--to", "parquet"],
        ["train", "s3://bucket/store"],
        ["show", "store", "--out", "s3://bucket/sheet.png"],
    ],
)
def test_a_url_is_refused_in_words(call, arguments):
    (url,) = (one for one in arguments if "://" in one)
    status, _, words = call(*arguments)
    assert status == 1
    assert words.startswith(
        f"lowres: {url} is a URL, and this must be a path on a local or mounted disk"
    )


def test_every_list_takes_blanks_and_commas(call, source, store_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--filter", "box,lanczos", "--size", "4", "8,16", "--classes", "ant,dog"]
    status, shown, _ = call("build", source, "store", *flags)
    assert (status, shown.count("-lanczos")) == (0, 3)
    assert "classes: 2, ant, dog" in call("info", "store")[1]
    split = ["--split", "train,val", "--variant", "8-box", "--to", "folder"]
    assert call("export", "store", "folder", *split)[1] == "folder: 12 train, 6 val\n"
    names = "'tench, Tinca tinca'"
    refused = call("build", source, "x", "--classes", names.strip("'"))[2]
    assert f"class {names} is not among" in refused


def test_a_study_without_an_axis_is_refused_with_an_example(call, store_path, tmp_path):
    status, _, words = call("study", store_path, "--out", tmp_path / "study")
    assert status == 1
    assert f"lowres study {store_path} --axis lr=0.01,0.05" in words
    assert f"to train one network, run: lowres train {store_path}" in words
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("verb", ["train", "study", "search"])
def test_an_interrupt_names_the_command_that_resumes_once(call, store_path, tmp_path, monkeypatch,
                                                         verb):  # fmt: skip
    def interrupted(*_arguments, **_others):
        raise KeyboardInterrupt

    from lowres.study.search.search import Search
    from lowres.study.study import Study
    from lowres.training import together

    monkeypatch.setattr(together, "finish_all", interrupted)
    monkeypatch.setattr(Study, "finish", interrupted)
    monkeypatch.setattr(Search, "finish", interrupted)
    flags = {
        "train": ["--variant", "8-box"],
        "study": ["--axis", "size=8"],
        "search": ["--sizes", "8", "--space", "lr=0.1,0.2", "--budget", "2"],
    }[verb]
    status, _, words = call(verb, store_path, *flags, *TINY, "--out", tmp_path / "out")
    assert status == 130
    assert words == f"lowres: interrupted; to resume, run: lowres {verb} {tmp_path / 'out'}\n"


def test_an_interrupted_build_is_resumed_by_the_same_command(call, source, tmp_path, monkeypatch):
    def interrupted(*_arguments, **_others):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowres.store.build.build", interrupted)
    status, _, words = call("build", source, tmp_path / "store")
    assert (status, words) == (130, "lowres: interrupted; to resume, run: the same command\n")


def test_info(call, source, store_path):
    _, text, _ = call("info", store_path)
    assert "source: folder animals, layout split/class" in text
    assert "train: 24 pictures" in text
    assert "classes: 4, ant, bee, cat, dog" in text
    assert f"source {source}: folder, layout split/class" in call("info", source)[1]


def test_verify_finds_a_flipped_bit(call, store_path, tmp_path):
    status, text, progress = call("verify", store_path, "--quiet")
    assert (status, progress) == (0, "")
    assert re.fullmatch(rf"{store_path}: whole; \d+ files have the checksums of .*\n", text)
    copy = shutil.copytree(store_path, tmp_path / "copy")
    data = bytearray((copy / "val" / "8-box.npy").read_bytes())
    data[500] ^= 4
    (copy / "val" / "8-box.npy").write_bytes(data)
    status, text, _ = call("verify", copy)
    assert status == 1
    assert "val/8-box.npy has changed" in text
    assert f"{copy}: damaged, 1 of its checks failed; to repair it, " in text


def test_show_draws_a_sheet(call, store_path, tmp_path):
    assert call("show", store_path, "--out", tmp_path / "sheet.png")[0] == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_classes_from_a_file(call, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.txt").write_text("# of four\ndog\n\nant\n")
    status, _, err = call("build", source, "store", "--size", "4", "--classes", "some.txt")
    assert status == 0, err
    assert "classes: 2, ant, dog" in call("info", "store")[1]


@pytest.mark.parametrize(
    ("data", "words"), [(b"# none\n", "names no classes"), (b"\xff\xd8", "must be a text file")]
)
def test_bad_files_of_classes(call, source, tmp_path, monkeypatch, data, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.txt").write_bytes(data)
    status, _, err = call("build", source, "store", "--classes", "some.txt")
    assert status == 1
    assert words in err
    assert not (tmp_path / "store").exists()


def test_skipped_images_are_listed_ten_at_most(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = draw_source(tmp_path / "animals")
    (source / "train" / "cat" / "03.jpg").write_bytes(b"x")
    status, _, err = call("build", source, "stopped", "--size", "4")
    assert status == 1
    assert "03.jpg cannot be read: is none of JPEG" in err
    for name in ("ant", "bee", "dog"):
        for number in range(4):
            (source / "train" / name / f"{number:02}.jpg").write_bytes(b"x")
    status, out, err = call("build", source, "store", "--size", "4", "--on-error", "skip")
    assert status == 0
    assert "skipped 13 images that cannot be decoded" in err
    assert "train/ant/00.jpg: is none of JPEG" in err
    assert "  and 3 more: store/manifest.json lists them all\n" in err
    assert "store: 11 train, 12 val" in out
    assert "train: 13 images skipped" in call("info", "store")[1]


def test_a_missing_extra_names_what_to_install(call, store_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, err = call("train", store_path, "--variant", "8-box")
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


def test_a_plan_its_commands_and_their_status(call, store_path, tmp_path, monkeypatch):
    """As one would do it with a queue."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["study", store_path, "--plan", "plan.toml", "--out", "it's here"]
    ended, commands, errors = call(*command, "--print-commands", "--device", "cpu")
    assert (ended, errors) == (0, "")
    lines = commands.splitlines()
    assert len(lines) == 6
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert "it's here: 6 planned; time left: unknown" in call("status", "it's here")[1]
    words = shlex.split(lines[0])
    assert words[:2] == ["lowres", "train"]
    assert words[3:] == ["--device", "cpu"]
    assert call(*words[1:])[0] == 0
    left = call("study", "it's here", "--print-commands", "--device", "cpu")[1]
    assert left.splitlines() == lines[1:]
    shown = call("status", "it's here")[1]
    assert "1 trained, 5 planned; about " in shown
    assert shlex.split(shown.splitlines()[-1])[-3:] == ["lowres", "study", "it's here"]
    record = json.loads(call("status", "it's here", "--json")[1])
    assert record["counts"]["trained"] == 1
    text = call("info", "it's here")[1]
    assert "1 trained, 5 planned" in text
    assert "axis size: 8, 16" in text
    assert "run it's here" not in text
    assert "trained" in call("info", words[2])[1]


@pytest.fixture
def _probed(monkeypatch):
    """No network is timed: each takes 10 ms a step."""
    speed = Speed(step_s=0.01, image_s=0.001, start_s=1.0, steps=5)
    monkeypatch.setattr(
        "lowres.study.forecast.probe", lambda _, networks, *__, **___: [speed] * len(networks)
    )


@pytest.mark.usefixtures("_probed")
def test_a_dry_run_writes_nothing(call, store_path, tmp_path):
    flags = ["--axis", "seed=0", "--variant", "8-box", *TINY]
    ended, table, _ = call("study", store_path, *flags, "--dry-run", "--out", tmp_path / "study")
    assert ended == 0
    assert "1 run, 0 finished" in table
    assert not (tmp_path / "study").exists()


@pytest.mark.usefixtures("_probed")
def test_a_dry_run_says_what_a_plan_can_decide(call, store_path, tmp_path):
    flags = ["--axis", "size=8,16", "--axis", "lr=1,2,3,4,5", *TINY]
    ended, text, _ = call("study", store_path, *flags, "--dry-run", "--noise", "2.5")
    assert ended == 0
    assert "whether 8-box stands in for 16-box within 2.5 points" in text
    assert "a guess" not in text


def test_a_swept_size_in_record_and_report(call, store_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = ["--axis", "size=8,16", "--axis", "filter=box,lanczos", "--print-commands", *TINY]
    assert call("study", store_path, *sweep)[0] == 0
    record = json.loads((tmp_path / "study" / "study.json").read_text())
    assert record["axes"] == {"size": [8, 16], "filter": ["box", "lanczos"], "seed": [0]}
    assert sorted(name.split("-k")[0] for name in record["runs"]) == [
        "16-box", "16-lanczos", "8-box", "8-lanczos",
    ]  # fmt: skip
    assert call("report", "study")[0] == 0
    assert "16-lanczos" in (tmp_path / "study" / "report.html").read_text()
    # It may grow by more values of what was swept, whatever the base's own size is,
    assert call("study", store_path, *sweep, "--variant", "16-box")[0] == 0
    # but not by what was held fixed, nor by a sweep of whole variants.
    sizes = ["--axis", "size=8,16", "--print-commands", *TINY[:-4], "--batch-size", "8"]
    sizes += ["--out", "sizes", "--variant"]
    assert call("study", store_path, *sizes, "32-box", "--epochs", "1")[0] == 0
    for variant, epochs, words in (
        ("32-lanczos", "1", "filter was box and is now lanczos"),
        ("32-box", "3", "epochs was 1 and is now 3"),
    ):
        flags = [*sizes, variant, "--epochs", epochs]
        assert words in call("study", store_path, *flags)[2]
    whole = ["--axis", "variant=8-box", "--print-commands", *TINY]
    assert (
        "was planned with axes size, filter, seed: variant and its part size"
        in (call("study", store_path, *whole)[2])
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
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr("lowres.work.processes.available_cores", lambda: 2)
    executor = execution.make_executor(execution.StudyExecution(**given), 6)
    assert (executor.jobs, executor.gpus) == expected


@pytest.mark.full
def test_a_search_resumes_and_refuses_flags_that_would_change_nothing(call, store_path, tmp_path):
    small = ["--width", "0.5", "--blocks", "1", "--batch-size", "8", "--out", tmp_path / "search"]
    search = ["search", store_path, "--sizes", "8,16", "--space", "lr=0.01,0.1"]
    for more, words in [
        ([], "add --budget 10 to train as much as 10 runs"),
        (["--budget", "1.4", "--lr", "1"], "lr is searched: leave --lr out"),
        (["--budget", "1.4", "--rung-epochs", "1", "1", "--epochs", "2"], "leave --epochs out"),
        (["--budget", "1.4", "--variant", "8-box"], "--variant 8-box must have the largest of"),
        (["--budget", "1.4", "--executor", "ray"], "--executor ray needs --jobs here"),
        (["--budget", "1.4", "--confirm", "-1"], "--confirm must be 0 or more, was -1"),
    ]:
        status, _, refused = call(*search, *small, *more)
        assert (status, words in refused) == (1, True), refused
    assert not (tmp_path / "search").exists()
    search[3] = "8"
    status, shown, _ = call(*search, *small, "--budget", "2", "--epochs", "1", "--jobs", "2")
    assert status == 0
    assert "configurations 2 at 8 px; 2 chosen and trained at a time" in shown
    assert re.search(r"best at 8 px: top-1 error \d+\.\d\d % with lr 0\.1?", shown)
    status, _, refused = call("search", tmp_path / "search", "--budget", "2")
    assert (status, "has its plan: leave other flags out" in refused) == (1, True), refused
    assert call("search", tmp_path / "search")[:2] == (0, shown.partition("\n")[2])
    assert "search" in call("info", tmp_path / "search")[1]
    assert "2 trained" in call("status", tmp_path / "search")[1]
    assert f"for new seeds, run: lowres search {tmp_path / 'search'} --confirm 3" in shown
    same = [*search, *small, "--budget", "2", "--epochs", "1", "--jobs", "2"]
    status, shown, _ = call(*same, "--confirm", "2")
    assert status == 0
    assert re.search(r"best with 2 new seeds: top-1 error \d+\.\d\d ± \d+\.\d\d % \(mean ±", shown)
    assert "for new seeds, run" not in shown
    assert call(*same)[1] == shown
    assert "4 trained" in call("status", tmp_path / "search")[1]
    assert call("report", tmp_path / "search")[0] == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "Allow more open files, such as by: ulimit -n 4096"),
        (errno.EROFS, "Choose a folder on a disk that can be written"),
        (errno.EACCES, "Change the permission, or choose another folder"),
    ],
)
def test_errors_of_the_system_name_the_path_what_is_kept_and_what_to_do(
    call, source, store_path, tmp_path, monkeypatch, number, words
):
    def refused(*_):
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr("lowres.store.staging.Staging.sync", refused)
    status, _, said = call("build", source, tmp_path / "store", "--size", "8")
    kept = "What is finished is kept"
    end = f"{kept}. {words}; then run the same command, which resumes\n"
    assert (status, said.splitlines(keepends=True)[-1]) == (
        1,
        f"lowres: /some/file: {os.strerror(number)}. {end}",
    )
    monkeypatch.setattr("lowres.formats.sink.sync_tree", refused)
    export = ["export", store_path, tmp_path / "set", "--variant", "8-box", "--to", "folder"]
    status, _, said = call(*export)
    assert status == 1
    assert said.endswith(
        f"Nothing was finished. {words}; then run the same command, which begins again\n"
    )
    assert not list(tmp_path.glob("set*"))


@pytest.mark.full
def test_a_file_system_without_locks_is_noted_once(source, tmp_path):
    program = (
        "import errno, fcntl, sys\n"
        "from lowres.cli import main\n"
        "def refused(*_): raise OSError(errno.ENOLCK, 'No locks available')\n"
        "fcntl.flock = refused\n"
        f"main(['build', {str(source)!r}, {str(tmp_path / 'store')!r}, '--size', '8', '-q'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stderr.count("has no locks (No locks available)") == 1
    assert run.stderr.startswith("note: the file system of ")


def test_train_takes_several_runs(call, store, tmp_path):
    recipes = [
        Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8, seed=seed)
        for seed in range(2)
    ]
    runs = [Run.plan(tmp_path / str(n), recipe, store) for n, recipe in enumerate(recipes)]
    paths = [run.path for run in runs]
    status, text, _ = call("train", *paths, "--device", "cpu", "--quiet")
    assert status == 0
    assert all(f"{path}: finished" in text for path in paths)
    assert call("train", paths[0], tmp_path / "none", "--device", "cpu")[0] == 1
