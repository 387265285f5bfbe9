"""Runs as a table that pandas and polars take."""

import pytest

import lowres
from lowres.recipe import FIELDS, Recipe
from made_runs import fail_run, write_run, write_study

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = write_study(tmp_path_factory.mktemp("runs"), sizes=(8, 32), widths=(1.0,), seeds=1)
    fail_run(path / "broken", Recipe(variant="16-box", lr_drop_at=()), "disk <full>")
    return path


def test_one_row_a_run(folder):
    rows = lowres.runs(folder)
    table = pd.DataFrame(rows)
    assert len(table) == 13
    assert set(FIELDS) <= set(table.columns)
    assert rows.swept == ("size", "width", "epochs", "lr", "lr_drop_at")
    assert set(table.state) == {"trained", "diverged", "failed"}
    lost = table[table.state == "failed"].iloc[0]
    assert (lost["size"], lost["lr_drop_at"], lost["reason"]) == (
        16,
        "none",
        "OSError: disk <full>",
    )
    best = table.sort_values("top1_error").iloc[0]
    assert best["filter"] == "box"
    assert 0 < best["top1_error"] < 0.6
    assert best["epochs_done"] == 4
    assert rows.columns()["run"] == [row["run"] for row in rows]


def test_one_row_an_epoch(folder):
    table = pd.DataFrame(lowres.runs(folder, epochs=True))
    trained = table[table.state == "trained"]
    assert (trained.groupby("run").epoch.agg(["min", "max", "count"]) == [1, 4, 4]).all(axis=None)
    last = trained[trained.epoch == 4].set_index("run").top1_error
    whole = pd.DataFrame(lowres.runs(folder)).set_index("run").top1_error
    assert (last == whole[last.index]).all()


def test_polars_takes_both_forms(folder):
    polars = pytest.importorskip("polars")
    rows = lowres.runs(folder)
    assert polars.DataFrame(rows).equals(polars.DataFrame(rows.columns()))


def test_numbers_of_a_column_have_one_type(tmp_path):
    """A recipe in Python may say width=1 and width=0.5, and polars takes the first for all."""
    write_run(tmp_path, Recipe(variant="8-box", width=1), 0.5)
    write_run(tmp_path, Recipe(variant="8-box", width=0.5), 0.5)
    assert {type(row["width"]) for row in lowres.runs(tmp_path)} == {float}


def test_a_table_in_a_notebook(folder):
    page = lowres.runs(folder)._repr_html_()
    assert page.count("<tr>") == 14
    assert "disk <full>" not in page
    assert "<th>lr</th>" in page
    long = lowres.study.runs.Runs(lowres.runs(folder) * 5)
    assert "and 15 more" in long._repr_html_()
    assert lowres.runs(folder / "broken")._repr_html_().count("<tr>") == 2
