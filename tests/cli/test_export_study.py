"""A study as a benchmark, from the command line."""

import pytest

from made_runs import write_study

pytest.importorskip("pyarrow")


def test_a_study_is_exported_as_a_benchmark(call, tmp_path):
    folder = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0,), rates=(0.01, 0.1))
    status, words, _ = call("export", folder, tmp_path / "bench", "--to", "benchmark")
    assert status == 0
    assert words == f"{tmp_path / 'bench'}: 2 configurations, sizes 8, 16 px, 2 seeds, 4 epochs\n"
    gone = next((folder).glob("16-box*s1*"))
    (gone / "result.json").unlink()
    status, _, words = call("export", folder, tmp_path / "again", "--to", "benchmark")
    assert status == 0
    assert "note: the grid of configurations, sizes and seeds lacks 1 run" in words


def test_what_does_not_fit_together(call, store_path, tmp_path):
    arguments = ("--to", "benchmark", "--variant", "8-box")
    assert "leave --variant and --split out" in call("export", tmp_path, "x", *arguments)[2]
    (tmp_path / "study.json").write_text("{}")
    words = call("export", tmp_path, tmp_path / "x", "--to", "parquet")[2]
    assert f"{tmp_path} is a study: write it with --to benchmark" in words
