"""A study as a tabular benchmark, opened by each package that it is written for."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import lowres
from lowres.recipe import Recipe
from lowres.study.benchmark import Benchmark, export_benchmark, module_name
from made_runs import write_run, write_study

pd = pytest.importorskip("pandas")

pytest.importorskip("pyarrow")
pytest.importorskip("yaml")

SOME = {"lr": 0.08, "width": 1.0}
RATES = [0.005, 0.0125, 0.032, 0.08, 0.2, 0.5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write 48 runs of 4 epochs; at 32 px the largest rate diverges in epoch 1."""
    return write_study(
        tmp_path_factory.mktemp("studies") / "My study", sizes=(8, 32), widths=(1.0, 2.0)
    )


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "bench"
    export_benchmark(folder, path)
    return path


def value(folder, *, size, lr, seed, epoch):
    table = pd.DataFrame(lowres.runs(folder, epochs=True))
    row = table[(table["size"] == size) & (table.lr == lr) & (table.seed == seed)]
    row = row[row.width == 1]
    return float(row[row.epoch == epoch].top1_error.iloc[0])


def test_the_table(folder, written):
    table = pd.read_parquet(written / "data" / "results.parquet")
    assert len(table) == 44 * 4 + 4
    assert list(table.columns[:5]) == ["width", "lr", "size", "epoch", "seed"]
    first = table[(table["size"] == 8) & (table.lr == 0.08) & (table.seed == 1)]
    first = first[first.width == 1]
    assert first.epoch.tolist() == [1, 2, 3, 4]
    assert first.top1_error.iloc[1] == value(folder, size=8, lr=0.08, seed=1, epoch=2)
    assert np.allclose(np.diff(first.elapsed_s), first.elapsed_s.iloc[0])
    assert first.cost_macs.iloc[-1] == 3e6 * 8**2 * 4
    assert table[table.state == "diverged"].top1_error.isna().all()
    card = (written / "README.md").read_text()
    assert "12 configurations, sizes\n8, 32 px, 2 seeds, up to\n4 epochs." in card
    assert "not run" not in card


@pytest.mark.full
def test_configspace_reads_the_space(written):
    space = pytest.importorskip("ConfigSpace").ConfigurationSpace.from_json(
        written / "configspace.json"
    )
    assert list(space) == ["lr", "width"]
    assert list(space["lr"].sequence) == RATES
    assert space.sample_configuration()["lr"] in RATES


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_syne_tune_reads_the_blackbox(folder, written):
    tabular = pytest.importorskip("syne_tune.blackbox_repository.blackbox_tabular")
    pytest.importorskip("fastparquet")  # its own reader
    boxes = tabular.deserialize(str(written / "syne_tune"))
    assert list(boxes) == ["8px", "32px"]
    found = boxes["8px"](SOME, fidelity={"epoch": 2}, seed=1)
    expected = value(folder, size=8, lr=0.08, seed=1, epoch=2)
    assert found["top1_error"] == pytest.approx(expected, rel=1e-6)
    assert (
        boxes["32px"]({"lr": 0.5, "width": 2.0}, fidelity={"epoch": 4}, seed=0)["top1_error"] == 1
    )
    assert boxes["8px"].fidelity_space["epoch"].upper == 4


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_syne_tune_searches_the_blackbox_as_the_page_says(written, tmp_path, monkeypatch):
    pytest.importorskip("syne_tune")
    pytest.importorskip("fastparquet")
    page = (Path(__file__).parents[2] / "docs" / "other-tools.md").read_text()
    (code,) = re.findall(r"^```text\n(from syne_tune.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    code = code.replace("BENCHMARK", str(written)).replace("16px", "8px")
    names: dict = {}
    exec(compile(code, "other-tools.md", "exec"), names)
    assert set(names["configuration"]) == {"lr", "width"}
    assert names["configuration"]["lr"] in RATES


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_optunahub_loads_the_module_and_optuna_searches_it(folder, written):
    optunahub = pytest.importorskip("optunahub")
    import optuna

    module = optunahub.load_local_module(
        "lowres_my_study", registry_root=str(written / "optunahub")
    )
    problem = module.Problem(size=8, epoch=2, seed=1)
    expected = value(folder, size=8, lr=0.08, seed=1, epoch=2)
    assert problem.evaluate(SOME) == expected
    whole = module.Problem()
    error, seconds, macs = whole.evaluate_at(SOME, 8, 2)
    other = value(folder, size=8, lr=0.08, seed=0, epoch=2)
    assert error == pytest.approx((expected + other) / 2)
    assert (seconds > 0, macs) == (True, 3e6 * 8**2 * 2)
    optuna.logging.disable_default_handler()
    study = optuna.create_study(directions=whole.directions)
    study.optimize(whole, n_trials=8)
    assert 0 < study.best_value < 0.6
    for wrong in ({"size": 16}, {"epoch": 5}, {"seed": 9}):
        with pytest.raises(ValueError, match="must be"):
            module.Problem(**wrong)


@pytest.mark.full
def test_datasets_reads_the_folder(written, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(written), cache_dir=str(tmp_path))["train"]
    assert {"lr", "size", "epoch", "top1_error"} <= set(found.column_names)


def test_text_truth_and_missing_cells(tmp_path):
    for bias, name, error in ((True, "momentum", 0.5), (False, "muon", 0.4), (True, "muon", 0.3)):
        recipe = Recipe(variant="8-box", conv_bias=bias, optimizer=name, lr=0.04, epochs=2)
        write_run(tmp_path / "s", recipe, error)
    found = export_benchmark(tmp_path / "s", tmp_path / "out")
    assert found.missing == 0
    assert found.configurations == [
        ("momentum", True), ("muon", False), ("muon", True),
    ]  # fmt: skip
    kinds = {
        one["name"]: one["type"]
        for one in json.loads((tmp_path / "out" / "configspace.json").read_text())[
            "hyperparameters"
        ]
    }
    assert kinds == {"conv_bias": "categorical", "optimizer": "categorical"}
    write_run(tmp_path / "s", Recipe(variant="16-box", epochs=2, lr=0.04), 0.6)
    found = Benchmark.of(tmp_path / "s")
    assert found.missing == 2
    assert np.isnan(found.cells).sum() == 2 * 2 * 3


def test_refusals(folder, tmp_path):
    write_run(tmp_path / "one", Recipe(variant="8-box"), 0.5)
    with pytest.raises(lowres.LowresError, match="swept only sizes and seeds"):
        Benchmark.of(tmp_path / "one")
    with pytest.raises(lowres.LowresError, match="exists: choose a new path"):
        export_benchmark(folder, tmp_path)
    planned = tmp_path / "planned" / "x"
    planned.mkdir(parents=True)
    text = json.dumps({"store": {"path": "/", "digest": "0"}, "recipe": Recipe().to_record()})
    (planned / "recipe.json").write_text(text)
    with pytest.raises(lowres.LowresError, match="no finished run: run lowres status"):
        Benchmark.of(tmp_path / "planned")
    assert module_name("Größe 8/16!") == "lowres_gr_e_8_16"
    assert module_name("!") == "lowres_study"
