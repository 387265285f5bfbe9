"""The callback of a training: when it is called, and what trackers get."""

import dataclasses
import json
import subprocess
import sys
import types

import pytest

import lowres
from hooks import interrupted_after
from lowres.errors import RunError
from lowres.recipe import Recipe
from lowres.training import trackers
from lowres.training.execution import Execution
from lowres.training.loop import finish_pack
from lowres.training.run import Run

TINY = Recipe(variant="8-box", width=0.5, blocks=1, epochs=3, batch_size=8, precision="float32")


def execution(callback):
    return Execution(device="cpu", compile="off", callback=callback)


def test_a_callback_gets_each_epoch_and_then_the_result(store, tmp_path):
    got = []
    path = tmp_path / "run"
    result = lowres.train(
        store, TINY, path, execution=execution(lambda run, record: got.append((run, record)))
    )
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [record for _, record in got] == [*lines, result]
    assert {(run.path, run.recipe) for run, _ in got} == {(path, TINY)}
    lowres.train(store, TINY, path, execution=execution("no.such:module"))
    assert len(got) == 4, "a finished run calls nothing"


def test_a_resumed_run_calls_it_for_the_epochs_that_follow(store, tmp_path):
    got = []
    ways = execution(lambda _, record: got.append(record.get("epoch")))
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=ways, track=interrupted_after(1))
    lowres.train(store, TINY, tmp_path / "run", execution=ways)
    assert got == [1, 2, 3, None]


def test_an_error_in_it_ends_the_training_which_resumes_after_that_epoch(store, tmp_path):
    got = []

    def fail_once(_, record):
        got.append(record.get("epoch"))
        if got == [1, 2]:
            raise OSError("the tracker is away")

    ways = execution(fail_once)
    with pytest.raises(OSError, match="the tracker is away"):
        lowres.train(store, TINY, tmp_path / "run", execution=ways)
    assert Run.open(tmp_path / "run").error()["message"] == "the tracker is away"
    lowres.train(store, TINY, tmp_path / "run", execution=ways)
    assert got == [1, 2, 3, None]


def test_a_name_that_cannot_be_imported_is_refused_before_anything_is_trained(store, tmp_path):
    with pytest.raises(RunError, match="callback no_such:log: module no_such cannot be imported"):
        lowres.train(store, TINY, tmp_path / "run", execution=execution("no_such:log"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    with pytest.raises(RunError, match=r"callback must be package\.module:function, was 'mlflow'"):
        Execution(callback="mlflow")
    with pytest.raises(RunError, match="callback must be a function or its name, was 3"):
        Execution(callback=3)


CALLED = """
from pathlib import Path
def log(run, record):
    with open("called.txt", "a") as file:
        file.write(f"{run.recipe.seed} {record.get('epoch', 'end')}\\n")
"""


@pytest.mark.full
def test_every_run_of_a_study_calls_it(store_path, tmp_path):
    (tmp_path / "my_log.py").write_text(CALLED)
    flags = "--epochs 1 --width 0.5 --blocks 1 --batch-size 8 --variant 8-box --seeds 2 --jobs 1"
    command = [sys.executable, "-m", "lowres", "study", store_path, *flags.split(), "--device"]
    subprocess.run([*command, "cpu", "--callback", "my_log:log"], cwd=tmp_path, check=True)
    assert (tmp_path / "called.txt").read_text() == "0 1\n0 end\n1 1\n1 end\n"


def test_weights_and_biases_gets_each_run_by_its_name(store, tmp_path, monkeypatch):
    calls = []

    class Connection:
        def __init__(self, name):
            self.name = name
            self.summary = types.SimpleNamespace(update=self.update)

        def update(self, record):
            calls.append((self.name, "end", record["status"]))

        def log(self, values, step):
            calls.append((self.name, step, sorted(values)[:2]))

        def finish(self):
            calls.append((self.name, "finish"))

    def init(**options):
        calls.append(options)
        return Connection(options["id"])

    fake = types.ModuleType("wandb")
    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    recipe = dataclasses.replace(TINY, epochs=2)
    runs = [Run.plan(tmp_path / name, recipe, store) for name in ("one", "two")]
    finish_pack(runs, execution=execution(trackers.wandb))
    assert calls[0] == {
        "project": "lowres", "id": "one", "name": "one", "resume": "allow",
        "reinit": "create_new", "config": recipe.to_record(),
    }  # fmt: skip
    for name in ("one", "two"):
        assert [call[1:] for call in calls if isinstance(call, tuple) and call[0] == name] == [
            (1, ["epoch", "eval_loss"]), (2, ["epoch", "eval_loss"]), ("end", "trained"),
            ("finish",),
        ]  # fmt: skip


def leveldb_records(data):
    """Yield the records of a log of LevelDB, which wandb writes behind 7 bytes of its own."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:  # no header fits into the rest of a block
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of wandb and of what it imports
def test_the_real_weights_and_biases_keeps_curve_and_result(store, tmp_path, monkeypatch):
    """Offline: it writes what it would send."""
    wandb = pytest.importorskip("wandb")
    records = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    ways = execution("lowres.training.trackers:wandb")
    result = lowres.train(store, TINY, tmp_path / "run", execution=ways)
    wandb.teardown()  # its process writes the file, and has then ended
    (written,) = tmp_path.rglob("run-*.wandb")
    curve, names, summary = [], set(), {}
    for data in leveldb_records(written.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            names.add(record.run.display_name)
        if record.HasField("history"):
            curve.append({i.key or i.nested_key[0]: i.value_json for i in record.history.item})
        for item in record.summary.update:
            summary[item.key or item.nested_key[0]] = item.value_json
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    expected = [json.loads(line)["top1_error"] for line in lines]
    assert names == {"run"}
    assert [json.loads(point["top1_error"]) for point in curve] == expected
    assert json.loads(summary["top1_error"]) == result["top1_error"]
    assert json.loads(summary["status"]) == "trained"


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of mlflow and of what it imports
def test_mlflow_keeps_a_run_that_was_interrupted_in_one_piece(store, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    ways = execution("lowres.training.trackers:mlflow")
    with pytest.raises(KeyboardInterrupt):
        lowres.train(store, TINY, tmp_path / "run", execution=ways, track=interrupted_after(2))
    (found,) = mlflow.search_runs(output_format="list")
    assert found.info.status == "RUNNING"
    result = lowres.train(store, TINY, tmp_path / "run", execution=ways)
    lowres.train(store, dataclasses.replace(TINY, seed=1), tmp_path / "two", execution=ways)
    found = {run.info.run_name: run for run in mlflow.search_runs(output_format="list")}
    assert set(found) == {"run", "two"}
    run = found["run"]
    assert (run.info.status, run.data.tags["lowres.status"]) == ("FINISHED", "trained")
    assert (run.data.params["variant"], run.data.params["epochs"]) == ("8-box", "3")
    assert run.data.metrics["result_top1_error"] == result["top1_error"]
    client = mlflow.MlflowClient()
    curve = client.get_metric_history(run.info.run_id, "top1_error")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [point.value for point in curve] == [json.loads(line)["top1_error"] for line in lines]
    assert [point.step for point in curve] == [1, 2, 3]
    assert mlflow.active_run() is None
