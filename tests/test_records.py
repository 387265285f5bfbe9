"""Own records, damaged: every verb ends with a sentence, and never with a traceback."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import TypedDict

import pytest

import lowres
from lowres import cli
from lowres.errors import LowresError, StudyError
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.search.plan import SearchPlan
from lowres.study.study import Study
from lowres.training.run import Run
from lowres.work.records import RecordError, decoded, typed
from made_runs import MadeUp, fail_run
from record_damage import damaged, damaged_array

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)
DAMAGES = int(os.environ.get("LOWRES_DAMAGES", "110"))
"""Damages of the random part, a minute of them: a number, so that every machine tries the same."""

SIDES = ("--proxy", "size=8", "--target", "size=16")
OF_RUNS = (
    ("info", "study"), ("status", "study"), ("status", "study", "--json"),
    ("report", "study", "--format", "html,md,csv,json"), ("judge", "study", *SIDES),
    ("decide", "study", *SIDES, "--dry-run", "-q"), ("study", "study", "--print-commands"),
)  # fmt: skip
OF_STORES = (
    ("info", "store"), ("verify", "store", "-q"), ("show", "store", "--out", "sheet.png"),
    ("build", "store", "again", "--size", "8", "-q"),
    ("export", "store", "set", "--to", "folder", "-q"),
    ("train", "store", "--variant", "8-box", "--epochs", "1", "--batch-size", "8", "-q",
     "--device", "cpu", "--width", "0.1", "--blocks", "1", "--out", "trained"),
)  # fmt: skip
OF_SEARCHES = (("info", "search"), ("status", "search"), ("search", "search", "-q"))


@pytest.fixture(scope="module")
def whole(store_path, tmp_path_factory):
    """A store, a study of finished, failed and planned runs with a decision, and a search."""
    here = tmp_path_factory.mktemp("records") / "whole"
    here.mkdir()
    shutil.copytree(store_path, here / "store")
    before = Path.cwd()
    os.chdir(here)
    try:
        store = lowres.open_store("store")
        axes = (Axis("size", (8, 16)), Axis("lr", (0.01, 0.03, 0.1)))
        study = Study.plan(Path("study"), store, BASE, axes)
        executor = MadeUp()
        study.finish(executor)
        fail_run(Path("study/runs/failed"), BASE, "no room")
        Run.plan(Path("study/runs/planned"), BASE, store)
        plan = SearchPlan(base=BASE, space=("lr=0.01,0.03,0.1",), sizes=(8, 16), budget=4)
        search = lowres.Search.start(Path("search"), store, plan)
        search.finish(executor, 1)
        look = {"proxy": "size=8", "target": "size=16", "bearable_points": 1.0}
        look["bearable_given"] = False
        Path("study/decide.json").write_text(json.dumps({"looks": [look]}))
        lowres.train(store, BASE, Path("trained-whole"), execution=lowres.Execution(device="cpu"))
    finally:
        os.chdir(before)
    return here


@pytest.fixture
def here(whole, tmp_path, monkeypatch):
    place = tmp_path / "here"
    shutil.copytree(whole, place)
    monkeypatch.chdir(place)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    return place


def said(words: tuple[str, ...], capsys) -> tuple[int, str]:
    """Run a verb; return its exit status and what it wrote to standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0), capsys.readouterr().err


def verbs_of(file: Path) -> tuple[tuple[str, ...], ...]:
    if file.parts[0] == "study":
        own = ("train", str(file.parent), "-q")
        finished = (file.parent / "result.json").exists()
        return (*OF_RUNS, ("info", str(file.parent)), *((own,) if finished else ()))
    return OF_STORES if file.parts[0] == "store" else OF_SEARCHES


def records() -> list[Path]:
    finished = next(path.parent for path in Path("study/runs").glob("16-box*/result.json"))
    files = [finished / name for name in ("recipe.json", "result.json", "metrics.jsonl")]
    files += [Path("study/runs/failed/error.json"), Path("study/study.json")]
    files += [Path("study/decide.json"), Path("search/search.json"), Path("search/result.json")]
    return [*files, Path("store/manifest.json")]


def arrays() -> list[Path]:
    return [Path("store/train/8-box.npy"), Path("store/val/labels.npy")]


@pytest.mark.slow
def test_no_damage_ends_in_a_traceback(here, whole, capsys):
    """Random changes with fixed seeds; the seed of a failure is in its message."""
    files, refused = [*records(), *arrays()], 0
    for tried in range(DAMAGES):
        source = random.Random(tried)
        file = files[tried % len(files)]
        data = (whole / file).read_bytes()
        change = damaged_array if file.suffix == ".npy" else damaged
        file.write_bytes(change(data, source))
        for words in verbs_of(file):
            for made in ("again", "set", "trained"):
                shutil.rmtree(made, ignore_errors=True)
            try:
                status, words_said = said(words, capsys)
            except BaseException as error:
                raise AssertionError(f"{file}, seed {tried}: lowres {' '.join(words)}") from error
            refused += status != 0
            assert status in (0, 1, 2), f"{file}, seed {tried}: {words}"
            assert "Traceback" not in words_said, f"{file}, seed {tried}: {words}: {words_said}"
        file.write_bytes(data)
        for path in {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}:
            if path.parts[0] == "study" and not path.exists():
                shutil.copy(whole / path, path)
    assert refused > DAMAGES / 10


EDITS = [
    ("store/manifest.json", ["splits", "train"], "many"),
    ("store/manifest.json", ["splits"], {}),
    ("store/manifest.json", ["splits"], {"../x": 4}),
    ("store/manifest.json", ["statistics", "train"], {}),
    ("store/manifest.json", ["files"], {"../../x": "0"}),
    ("store/manifest.json", ["source"], ["x"]),
    ("store/manifest.json", ["variants"], ["8-box", "9-nothing"]),
    ("store/manifest.json", ["classes"], 3),
    ("study/study.json", ["axes"], {"nothing": [1]}),
    ("study/study.json", ["runs"], ["../../x"]),
    ("study/study.json", ["base", "blocks"], 10**30),
    ("study/study.json", ["store", "path"], "a\0b"),
    ("search/search.json", ["counts"], [1]),
    ("search/search.json", ["space"], {"lr": 3}),
    ("search/search.json", ["one_in"], 0.5),
    ("search/result.json", ["best", "top1_error"], "low"),
    ("search/result.json", ["rungs"], []),
    ("search/result.json", ["trace", 0, "rungs"], None),
]


@pytest.mark.parametrize(("file", "place", "value"), EDITS)
def test_one_changed_value_is_named_in_a_sentence(here, capsys, file, place, value):
    record = json.loads(Path(file).read_text())
    holder = record
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    Path(file).write_text(json.dumps(record))
    verb = "search" if file == "search/result.json" else "info"
    status, words = said((verb, file.partition("/")[0]), capsys)
    assert status == 1
    assert words.startswith("lowres: ")
    assert Path(file).name in words
    assert words.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [{"model": 3}, {"lr": None}, {"epochs": 2.5}, {"lr_drop_at": "0.5"}, {"nothing": 1}],
)
def test_weights_with_a_changed_recipe(here, change):
    from safetensors import safe_open
    from safetensors.torch import save_file

    file = Path("trained-whole/weights.safetensors")
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        record = json.loads(opened.metadata()["lowres"])
    record["recipe"] |= change
    save_file(tensors, file, {"lowres": json.dumps(record)})
    with pytest.raises(LowresError, match=r"weights\.safetensors is damaged or of another network"):
        lowres.load_network(file)


def test_a_search_whose_parts_contradict_each_other(here):
    record = json.loads(Path("search/result.json").read_text())
    record["trace"][0]["rungs"] *= 5
    Path("search/result.json").write_text(json.dumps(record))
    with pytest.raises(StudyError, match="its parts contradict each other"):
        lowres.Search.open(Path("search")).result()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "it must be an object, was a list"),
        ("[" * 100_000, "it must be an object, was a list"),
        ('{"a":' * 100_000, "maximum recursion depth"),
        ('{"a": NaN}', "JSON is malformed"),
        ("", "^it is empty or cut short$"),
    ],
)
def test_what_is_no_record(text, words):
    with pytest.raises(RecordError, match=words):
        decoded(text)


def test_types_are_named_in_words():
    with pytest.raises(RecordError, match=r"^axes\[\.\.\.\] must be a list, was a whole number$"):
        typed({"axes": {"lr": 3}}, _of_axes())
    with pytest.raises(RecordError, match=r"^there is no axes$"):
        typed({}, _of_axes())
    with pytest.raises(RecordError, match=r"^it must be an object, was a whole number$"):
        typed(3, _of_axes())


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (3, "splits must be an object, was a whole number"),
        ({"train": "3"}, r"splits\[...\] must be a whole number, was text"),
        ({"a/b": 3}, "a name in splits must be the name of a file, without slashes"),
    ],
)
def test_a_value_of_the_manifest_that_is_wrong(here, splits, words):
    file = Path("store/manifest.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"splits": splits}))
    with pytest.raises(LowresError, match=rf"{words}; .* remove the folder store first"):
        lowres.open_store("store")


@pytest.mark.parametrize("words", [("build", "store", "other"), ("build", "other-source", "store"),
                                   ("verify", "store"), ("train", "store")])  # fmt: skip
def test_an_empty_manifest(here, source, capsys, words):
    """As a power cut leaves it on a disk that confirms too early."""
    Path("store/manifest.json").write_bytes(b"")
    shutil.copytree(source, "other-source")
    status, text = said((*words, "-q"), capsys)
    assert status == 1
    assert "manifest.json is damaged: it is empty or cut short; to build the store again, " in text
    assert "remove the folder store first" in text


def _of_axes() -> type:
    return TypedDict("Axes", {"axes": dict[str, list[float]]})
