"""Tables of results from anywhere, judged by the command line and from Python."""

import json
import math

import numpy as np
import pytest

from lowres.cli import main
from lowres.errors import StudyError
from lowres.study.results_table import ResultsTable, judge_table


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "results.csv")


def write(path, *, shift=0.0, noise=0.004, percent=1, extra=""):
    random = np.random.default_rng(1)
    lines = ["size,lr,width,seed,error,cost"]
    for size, best in ((16, -1.5 + shift), (64, -1.5)):
        for lr in 10.0 ** np.linspace(-2.5, -0.5, 6):
            for width in (1, 2):
                for seed in (0, 1):
                    error = 0.4 + 0.12 * (math.log10(lr) - best) ** 2 - 0.03 * width
                    error += random.normal(0, noise)
                    lines.append(f"{size},{lr:.4g},{width},{seed},{percent * error:.4f},{size}")
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


def judged(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["judge", *map(str, words)])
    shown = capsys.readouterr()
    return ended.value.code, shown.out + shown.err


def test_the_answer_in_words_and_as_json(table, capsys):
    sides = ("--proxy", "size=16", "--target", "size=64")
    status, words = judged(capsys, table, *sides, "--bearable", 1)
    assert status == 0
    assert words.startswith("size=16 stands in for size=64 within 1 point. Its choice (lr ")
    status, text = judged(capsys, table, *sides, "--bearable", 1, "--json")
    (pair,) = json.loads(text)["pairs"]
    assert pair["answer"] == "stands in"
    assert pair["p_bearable"] >= 0.95
    assert pair["most_points"] < 1
    assert pair["observed_points"] >= 0
    assert pair["choice"]["width"] == 2
    assert pair["next"] == ""


def test_an_open_question_names_the_next_runs_and_their_price(tmp_path, capsys):
    path = write(tmp_path / "loud.csv", shift=0.3, noise=0.03)
    status, words = judged(capsys, path, "--proxy", "size=16", "--target", "size=64")
    assert status == 0
    assert "Next: run lr " in words
    assert "(cost about 128)" in words


def test_any_columns_tell_sides_apart(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text(
        "model,epochs,wd,error\n"
        + "".join(
            f"{model},{epochs},{wd},{0.3 + 0.01 * place}\n"
            for model, epochs in (("small", 10), ("large", 90))
            for place, wd in enumerate((0, 0.1, 0.2, 0.3, 0.4, 0.5))
        )
    )
    found = judge_table(ResultsTable.read(path), "model=small,epochs=10", "model=large,epochs=90")
    assert found.choice == {"wd": 0.0}
    assert found.verdict.seeds == (1, 1)


def test_empty_and_inf_errors_are_runs_that_diverged(tmp_path):
    path = write(tmp_path / "lost.csv", extra="16,5,1,0,inf,1\n64,5,1,0,,1\n")
    table = ResultsTable.read(path)
    assert table.errors[-2:] == (math.inf, math.inf)
    found = judge_table(table, "size=16", "size=64", bearable=0.01)
    assert found.verdict.configurations == 13
    assert found.verdict.answer == "stands in"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr,size\n1,2\n", "must have a column error"),
        ("size,error\n", "holds no runs"),
        ("size,error\n16,40\n", "divide percentages by 100"),
        ("size,error\n16,much\n", "must be a share"),
        ("size,error\n16\n", "must have 2 cells"),
        ("size,seed,error\n16,0,0.5\n16,0,0.4\n64,0,0.3\n", "seed 0 twice"),
        ("size,error\n16,0.5\n32,0.4\n", "no run of .* has that"),
        ("siz,error\n16,0.5\n64,0.4\n", "no column 'size'.*did you mean siz"),
        ("size,lr,error\n16,1,0.5\n64,2,0.4\n", "no configuration"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, words):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(StudyError, match=words):
        judge_table(ResultsTable.read(path), "size=16", "size=64")


def test_wrong_sides_and_flags(table, capsys):
    for words in (("--proxy", "16"), ("--proxy", "size=64"), ("--proxy", "seed=0")):
        status, _ = judged(capsys, table, *words, "--target", "size=64")
        assert status == 1
    status, text = judged(
        capsys, table, "--proxy", "size=16", "--target", "size=64", "--bearable", -1
    )
    assert status == 1
    assert "--bearable must be from 0 to 100" in text
    assert judged(capsys, table / "no", "--proxy", "size=16", "--target", "size=64")[0] == 1
