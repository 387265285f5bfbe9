"""Tables of results from anywhere, judged by the command line and from Python."""

import json
import math
import os
import threading

import numpy as np
import pytest

from lowres.cli import main
from lowres.errors import StudyError
from lowres.store.manifest import Manifest
from lowres.study.judging import judge_table
from lowres.study.results_files import Columns, read_results
from lowres.study.results_of_runs import of_runs
from lowres.study.results_table import decision_of, joined, text_of, value_of
from made_runs import write_study


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
    assert "Next: 2 runs on size=64, cost about 128; " in words
    assert " with probability 0." in words
    assert ": run lr " in words


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
    found = judge_table(read_results(path), "model=small,epochs=10", "model=large,epochs=90")
    assert found.choice == {"wd": 0.0}
    assert found.verdict.seeds == (1, 1)


def test_empty_and_inf_errors_are_runs_that_diverged(tmp_path):
    path = write(tmp_path / "lost.csv", extra="16,5,1,0,inf,1\n64,5,1,0,,1\n")
    table = read_results(path)
    assert [row.error for row in table.rows[-2:]] == [math.inf, math.inf]
    found = judge_table(table, "size=16", "size=64", bearable=0.01)
    assert found.verdict.configurations == 13
    assert found.verdict.answer == "stands in"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr,size\n1,2\n", "must have a column error"),
        ("size,error\n", "holds no runs"),
        ("size,error\n16,40\n", "add --unit percent"),
        ("size,error\n16,much\n", "error must be from 0 to 1"),
        ("size;error\n16;0,4\n", "decimal point"),
        ("size,val_acc\n16,0.4\n", "name it with --error COLUMN"),
        ("size,size,error\n16,1,0.4\n", "the column 'size' twice"),
        ("size,error\n16\n", "must have 2 cells"),
        ("size,seed,error\n16,0,0.5\n16,0,0.4\n64,0,0.3\n", "seed 0 twice"),
        ("size,error\n16,0.5\n32,0.4\n", "no run of .* has these values"),
        ("siz,error\n16,0.5\n64,0.4\n", "no column 'size'.*did you mean siz"),
        ("size,lr,error\n16,1,0.5\n64,2,0.4\n", "no configuration"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, words):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(StudyError, match=words):
        judge_table(read_results(path), "size=16", "size=64")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"size,error\n16,40%\n", "remove the % signs and add --unit percent"),
        (b"size,error\n16,NA\n", "leave the cell empty if the run diverged"),
        (b"size,cost,error\n16,-1,0.4\n", "cost must be 0 or more, was -1"),
        (b"# made by x\nsize,error\n", "must have 1 cell as the header in line 1, has 2"),
        ("größe,error\n16,0.4\n".encode("latin-1"), "must be CSV or TSV in UTF-8"),
        (b"size,width,error\n16,1,0.5\n64,1,0.4\n64,1,0.3\n", ""),
        (b"size,seed,error\n16,,0.5\n16,,0.4\n64,,0.3\n64,0,0.3\n", ""),
        (b'{"op_code": 99}\n', "cannot be read as a journal of Optuna"),
    ],
)
def test_odd_tables_are_read_or_refused_with_what_to_do(tmp_path, text, words):
    path = tmp_path / "odd.csv"
    path.write_bytes(text)
    if words:
        with pytest.raises(StudyError, match=words):
            read_results(path)
    else:
        assert judge_table(read_results(path), "size=16", "size=64").verdict.configurations == 1


def test_names_that_only_python_takes_for_numbers_are_words():
    assert [value_of(text) for text in ("2_8", "1e-3", "0.001", "nan")] == [
        "2_8",
        1e-3,
        1e-3,
        "nan",
    ]
    assert [decision_of(cell) for cell in ("inf", math.inf, -math.inf)] == ["inf", "inf", "-inf"]
    assert [text_of(value) for value in (1281167.0, 0.1, 1e-5)] == ["1281167", "0.1", "1e-05"]


def test_an_axis_with_inf_holds_words(table, tmp_path, capsys):
    path = tmp_path / "clip.csv"
    names, lines = lines_of(table)
    rows = [[*names, "clip"], *([*line, "inf" if line[2] == "2" else "1"] for line in lines)]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    flags = ("--proxy", SIDES[0], "--target", SIDES[1])
    status, text = judged(capsys, path, *flags, "--json")
    assert status == 0
    assert json.loads(text, parse_constant=pytest.fail)["choice"]["clip"] == "inf"
    assert judged(capsys, path, "--proxy", "size=16,clip=inf", *flags[2:])[0] == 0


def test_numbers_of_single_precision_are_those_of_the_other_side(table, tmp_path):
    names, lines = lines_of(table)
    for size, name in (("16", "16"), ("64", "64")):
        rows = [[str(float(np.float32(line[1]))) if size == "16" else line[1], *line[2:]]
                for line in lines if line[0] == size]  # fmt: skip
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(",".join(row) for row in (names[1:], *rows)) + "\n")
    both = read_results(tmp_path / "16.csv"), read_results(tmp_path / "64.csv")
    found = judge_table(*joined(*both), bearable=0.01)
    assert found.verdict.configurations == 12
    assert found.choice == judge_table(read_results(table), *SIDES, bearable=0.01).choice
    assert len(both[0].side("lr=0.003162", "--proxy").rows) == 4


def test_a_file_may_be_named_like_a_side_or_with_commas(table, tmp_path, capsys):
    names, lines = lines_of(table)
    paths = [tmp_path / name for name in ("a,size=16.csv", "it's b=64.csv")]
    for path, size in zip(paths, ("16", "64"), strict=True):
        rows = [line[1:] for line in lines if line[0] == size]
        path.write_text("\n".join(",".join(row) for row in (names[1:], *rows)) + "\n")
    status, words = judged(capsys, *paths)
    assert status == 0
    assert words.startswith('source="a,size=16" stands in for source=it\'s b=64')
    for path in paths:
        path.write_text(path.read_text().replace("width", "source", 1))
    assert "have a column source" in judged(capsys, *paths)[1]


def test_configurations_of_one_side_alone_are_counted_in_a_note(table, tmp_path):
    path = tmp_path / "few.csv"
    lines = table.read_text().splitlines()
    path.write_text("\n".join(lines[:-6]) + "\n")
    found = judge_table(read_results(path), *SIDES)
    assert "3 have runs of size=16 only and 0 of size=64 only, which are left out" in found.notes[0]


def test_a_proxy_that_does_not_choose_is_named_in_a_note(table, tmp_path):
    path = tmp_path / "same.csv"
    names, lines = lines_of(table)
    place = names.index("error")
    rows = [[*line[:place], "0.9", *line[place + 1 :]] for line in lines]
    path.write_text("\n".join(",".join(row) for row in (names, *rows)) + "\n")
    found = judge_table(read_results(path), *SIDES)
    assert found.notes == (
        "all runs of size=16 have the same error, so its choice is an arbitrary one",
    )


def test_with_few_configurations_no_further_run_promises_an_answer(tmp_path):
    path = tmp_path / "few.csv"
    lines = write(tmp_path / "whole.csv").read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[1:9], *lines[25:33]]) + "\n")
    found = judge_table(read_results(path), *SIDES)
    assert found.verdict.configurations == 4
    assert not found.verdict.sure
    assert found.chances == ()
    assert found.next_step.startswith("run at least 5 configurations")


def test_a_table_can_come_from_a_pipe(table, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(table.read_bytes()))
    writer.start()
    assert len(read_results(pipe).rows) == 48
    writer.join()


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


SIDES = ("size=16", "size=64")


def lines_of(path):
    header, *lines = path.read_text().splitlines()
    return header.split(","), [line.split(",") for line in lines]


def test_separators_and_the_index_of_pandas(table, tmp_path):
    names, lines = lines_of(table)
    for name, separator in (("a.tsv", "\t"), ("b.csv", ";")):
        path = tmp_path / name
        rows = [["", *names], *([str(n), *line] for n, line in enumerate(lines))]
        path.write_text("\n".join(separator.join(row) for row in rows) + "\n")
        found = judge_table(read_results(path), *SIDES, bearable=0.01)
        assert found.choice == judge_table(read_results(table), *SIDES, bearable=0.01).choice


@pytest.mark.full
def test_parquet_as_pandas_writes_it(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    names, lines = lines_of(table)
    columns = {name: [float(line[place]) for line in lines] for place, name in enumerate(names)}
    columns["error"][3] = None
    columns["size"] = [int(size) for size in columns["size"]]
    columns["__index_level_0__"] = list(range(len(lines)))
    parquet.write_table(pa.table(columns), tmp_path / "runs.parquet")
    read = read_results(tmp_path / "runs.parquet")
    assert read.rows[3].error == math.inf
    assert read.columns == ("size", "lr", "width")
    assert judge_table(read, *SIDES, bearable=0.01).verdict.configurations == 12
    (tmp_path / "wrong.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(StudyError, match="cannot be read as Parquet"):
        read_results(tmp_path / "wrong.parquet")


def test_accuracies_and_percent_are_named_never_guessed(table, tmp_path):
    names, lines = lines_of(table)
    place = names.index("error")
    for unit, of in (
        ("percent", lambda e: 100 * e),
        ("accuracy", lambda e: 1 - e),
        ("accuracy-percent", lambda e: 100 - 100 * e),
    ):
        path = tmp_path / f"{unit}.csv"
        rows = [[*line[:place], f"{of(float(line[place])):.4f}", *line[place + 1 :]]
                for line in lines]  # fmt: skip
        header = [name if name != "error" else "val_top1" for name in names]
        path.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
        with pytest.raises(StudyError, match="does not guess what column val_top1 holds"):
            read_results(path, Columns("val_top1"))
        read = read_results(path, Columns("val_top1", unit))
        assert read.rows[0].error == pytest.approx(float(lines[0][place]), abs=1e-4)
        assert judge_table(read, *SIDES, bearable=0.01).verdict.answer == "stands in"
    with pytest.raises(StudyError, match="--unit must be one of"):
        Columns(unit="loss")
    with pytest.raises(StudyError, match="did you mean val_top1"):
        read_results(path, Columns("val_top"))


def test_named_axes_leave_out_measurements(table, tmp_path):
    names, lines = lines_of(table)
    path = tmp_path / "measured.csv"
    rows = [[*names, "host_ms"], *([*line, str(n)] for n, line in enumerate(lines))]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    with pytest.raises(StudyError, match="--axes lr,width"):
        judge_table(read_results(path), *SIDES)
    read = read_results(path, Columns(axes=("lr", "width"), sides=("size", "epochs")))
    assert read.columns == ("size", "lr", "width")
    assert judge_table(read, *SIDES).verdict.configurations == 12
    with pytest.raises(StudyError, match=r"twice on side size=64: name width, too"):
        judge_table(read, "size=16,width=1", "size=64")
    with pytest.raises(StudyError, match="no column 'widht'"):
        read_results(path, Columns(axes=("widht",)))


def with_metrics(table, tmp_path):
    names, lines = lines_of(table)
    rows = [[*names, "loss", "top5_acc", "same"]]
    for line in lines:
        error = float(line[names.index("error")])
        far = abs(math.log10(float(line[1])) + 0.5)  # the loss falls with the learning rate
        rows.append([*line, f"{3 * error + far:.4f}", f"{90 - 30 * error:.3f}", "1"])
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def test_other_metrics_of_the_proxy_are_judged_beside_the_error(table, tmp_path, capsys):
    path = with_metrics(table, tmp_path)
    read = read_results(path, Columns(metrics=("loss", "top5_acc", "same")))
    found = judge_table(read, *SIDES, bearable=0.01, metrics=("min:loss", "max:top5_acc"))
    by_loss, by_top5 = found.by_metric
    assert found.verdict.answer == by_top5.verdict.answer == "stands in"
    assert by_loss.choice["lr"] > found.choice["lr"]
    assert by_loss.verdict.answer == "does not stand in"
    assert "By loss its choice (lr 0.3" in found.sentence()
    assert [one["metric"] for one in found.to_record()["by_metric"]] == ["loss", "top5_acc"]
    for metric, words in (
        ("top5_acc", "write max:top5_acc"),
        ("same", "same is 1 in all runs"),
        ("top6", "has no metric 'top6'"),
    ):
        with pytest.raises(StudyError, match=words):
            judge_table(read, *SIDES, metrics=(metric,))
    flags = ("--proxy", "size=16", "--target", "size=64", "--bearable", 1)
    flags += ("--axes", "lr,width", "--metric", "min:loss,max:top5_acc")
    status, words = judged(capsys, path, *flags)
    assert status == 0
    assert "By loss its choice" in words


def test_what_carries_over_field_by_field(table, capsys):
    found = judge_table(read_results(table), *SIDES, bearable=0.01)
    by_name = {field.field: field for field in found.verdict.fields}
    assert list(by_name) == ["lr", "width"]
    assert by_name["width"].value == 2.0
    assert by_name["width"].best == (2.0,)
    assert by_name["lr"].answer == "stands in"
    assert by_name["lr"].interval.low < 10**-1.5 < by_name["lr"].interval.high
    _, words = judged(capsys, table, "--proxy", SIDES[0], "--target", SIDES[1])
    assert "width: the proxy's best, 2, stands in (P = 1.00" in words
    fields = found.to_record()["fields"]
    assert fields[1]["most_points"] >= 0
    assert fields[0]["optimum_interval"][0] < fields[0]["optimum"]


def test_what_also_sets_the_sides_apart_is_no_axis(table, tmp_path):
    names, lines = lines_of(table)
    path = tmp_path / "also.csv"
    rows = [[*names, "epochs"], *([*line, "10" if line[0] == "16" else "40"] for line in lines)]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    found = judge_table(read_results(path), *SIDES, bearable=0.01)
    assert found.verdict.answer == "stands in"
    assert found.notes == ("the sides also differ in epochs (10, 40)",)


def test_two_files_one_for_each_side(table, tmp_path, capsys):
    names, lines = lines_of(table)
    for size, name in (("16", "small"), ("64", "theirs")):
        rows = [line[1:] for line in lines if line[0] == size]
        if size == "64":
            rows = [[*row, "x"] for row in rows]
        header = names[1:] + (["host"] if size == "64" else [])
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(",".join(row) for row in (header, *rows)) + "\n"
        )
    status, words = judged(capsys, tmp_path / "small.csv", tmp_path / "theirs.csv")
    assert status == 0
    assert words.startswith("source=small stands in for source=theirs")
    with pytest.raises(StudyError, match="must differ"):
        joined(read_results(table), read_results(table))
    other = tmp_path / "other.csv"
    other.write_text("momentum,error\n0.9,0.4\n")
    with pytest.raises(StudyError, match="no column in common"):
        joined(read_results(table), read_results(other))
    assert "name both sides" in judged(capsys, table)[1]


def test_halving_and_the_law_are_read_off_three_sizes(tmp_path, capsys):
    folder = write_study(tmp_path / "study", sizes=(8, 16, 32))
    found = judge_table(of_runs(folder), "size=8", "size=32", bearable=0.01)
    assert found.rungs == (8.0, 16.0, 32.0)
    assert found.halved.runs == (12, 4, 2)
    assert 0.2 < found.halved.paid < 0.6
    assert found.law.curves == 5
    assert found.law.by_size.interval.low < found.law.by_size.interval.high
    assert [one.size for one in found.law.predictions] == [64.0, 64.0]
    assert all(one.extrapolated for one in found.law.predictions)
    _, words = judged(capsys, folder, "--proxy", "size=8", "--target", "size=32")
    assert "Successive halving over 8, 16, 32, one in 3 kept, would have made 12 + 4 + 2" in words
    assert "at 64 px width 2 it would be " in words
    assert ", extrapolated" in words


def test_epochs_are_read_from_curves_where_no_run_is_that_short(tmp_path):
    folder = write_study(tmp_path / "study", sizes=(16,), epochs=20)
    table = of_runs(folder)
    found = judge_table(table, "epochs=5", "epochs=20", bearable=0.01)
    assert found.verdict.configurations == 12
    assert found.rungs == (5.0, 20.0)
    early, late = found.notes
    assert early.startswith("epochs=5 is read from the curves of longer runs")
    assert "same runs" in late
    with pytest.raises(StudyError, match="for results of others"):
        read_results(folder, Columns(unit="percent"))
    row = table.rows[0]
    assert row.curve[5.0].cost == pytest.approx(row.cost / 4)
    assert row.curve[5.0].seconds < row.seconds
    with pytest.raises(StudyError, match=r"no run of .* has these values \(epochs: 1, 2, 3"):
        judge_table(table, "epochs=21", "epochs=20")
    write_study(tmp_path / "study", sizes=(16,), epochs=5)
    assert judge_table(of_runs(folder), "epochs=5", "epochs=20").notes == ()


def test_a_study_against_another_study(tmp_path):
    first = write_study(tmp_path / "one" / "study", sizes=(8,), store={"path": "/a", "digest": "a"})
    other = write_study(tmp_path / "two" / "full", sizes=(32,), store={"path": "/b", "digest": "b"})
    table, proxy, target = joined(of_runs(first), of_runs(other))
    found = judge_table(table, proxy, target, bearable=0.01)
    assert found.verdict.answer == "stands in"
    assert found.notes == ("the sides also differ in size (8, 32)",)
    both = of_runs(tmp_path)
    assert judge_table(both, "store=a", "store=b").verdict.configurations == 12


LEVELS = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def test_a_share_of_the_images_as_the_proxy(tmp_path):
    for images in (500, 5000):
        folder = tmp_path / f"store{images}"
        folder.mkdir()
        manifest = Manifest(
            source={
                "kind": "folder",
                "layout": "",
                "name": "set",
                "index_sha256": "",
                "notes": [],
            },
            options={},
            classes=("a", "b"),
            splits={"train": images, "val": 10},
            variants=("8-box",),
            statistics={split: {"8-box": LEVELS} for split in ("train", "val")},
            skipped=(),
            contents={"8-box": ""},
            files={"train/labels.npy": str(images)},
            versions={},
        )
        manifest.write(folder)
        store = {"path": str(folder), "digest": manifest.digest}
        write_study(tmp_path / "runs" / str(images), sizes=(16,), store=store)
    table = of_runs(tmp_path / "runs")
    found = judge_table(table, "images=500", "images=5000", bearable=0.01)
    assert found.verdict.answer == "stands in"
    assert found.notes == ("the sides also differ in store (store500, store5000)",)
    assert found.rungs == (500.0, 5000.0)
    (tmp_path / "store500" / "manifest.json").unlink()
    moved = of_runs(tmp_path / "runs")
    assert "images" not in moved.columns
    assert judge_table(moved, "store=store500", "store=store5000").choice == found.choice


def journal(path, direction="minimize", scale=1.0):
    optuna = pytest.importorskip("optuna")
    storages = pytest.importorskip("optuna.storages.journal")
    storage = optuna.storages.JournalStorage(storages.JournalFileBackend(str(path)))
    study = optuna.create_study(storage=storage, study_name="s", direction=direction)
    space = {"lr": optuna.distributions.FloatDistribution(1e-3, 1, log=True),
             "size": optuna.distributions.CategoricalDistribution((16, 64))}  # fmt: skip
    random = np.random.default_rng(1)
    for size in (16, 64):
        for lr in 10.0 ** np.linspace(-2.5, -0.5, 6):
            for _ in range(2):
                error = 0.4 + 0.12 * (math.log10(lr) + 1.5) ** 2 + random.normal(0, 0.003)
                study.add_trial(
                    optuna.trial.create_trial(
                        params={"lr": float(lr), "size": size},
                        distributions=space,
                        value=scale * error,
                        intermediate_values={1: scale * (error + 0.2), 9: scale * error},
                        user_attrs={"top5": error / 3},
                    )
                )
    lost = optuna.trial.TrialState.FAIL
    params = {"lr": 0.9, "size": 16}
    study.add_trial(optuna.trial.create_trial(state=lost, params=params, distributions=space))
    return path


def test_the_journal_of_optuna_by_parameter_and_by_step(tmp_path):
    read = read_results(journal(tmp_path / "journal.log"), Columns(metrics=("top5",)))
    found = judge_table(read, "size=16", "size=64", bearable=0.01, metrics=("top5",))
    assert found.verdict.answer == "stands in"
    assert found.verdict.seeds == (2, 2)
    assert found.choice["lr"] == pytest.approx(10**-1.5, rel=0.7)
    assert "1 fail" in found.notes[0]
    assert found.by_metric[0].verdict.answer == "stands in"
    steps = judge_table(read, "size=64,step=1", "size=64,step=9", bearable=0.01)
    assert steps.verdict.answer == "stands in"
    assert any("same runs" in note for note in steps.notes)


def test_a_value_of_optuna_that_is_no_error_is_not_guessed(tmp_path):
    path = journal(tmp_path / "accuracy.log", "maximize", 100.0)
    with pytest.raises(StudyError, match=r"maximises its value.*accuracy-percent"):
        read_results(path)
    assert read_results(path, Columns(unit="accuracy-percent")).rows[0].error < 0.8
    with pytest.raises(StudyError, match="must be from 0 to 1"):
        read_results(journal(tmp_path / "percent.log", scale=100.0))
    assert read_results(path, Columns("top5", "share")).rows[0].error < 0.3


def outputs_of_timm(folder, epochs=4):
    random = np.random.default_rng(1)
    for size in (16, 64):
        for lr in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
            for seed in (0, 1):
                path = folder / f"run-{size}-{lr}-{seed}"
                path.mkdir(parents=True)
                (path / "args.yaml").write_text(
                    f"img_size: {size}\nlr: {lr}\nseed: {seed}\nepochs: {epochs}\n"
                    f"output: {path}\nmodel: resnet18\nmean: null\n"
                )
                error = 0.4 + 0.12 * (math.log10(lr) + 1.5) ** 2 + random.normal(0, 0.003)
                lines = ["epoch,train_loss,eval_loss,eval_top1,eval_top5,lr"]
                for epoch in range(epochs):
                    if epoch == 2:
                        lines.append(lines[0])  # resumed
                    now = 100 * (1 - error) - 5 * (epochs - 1 - epoch)
                    lines.append(f"{epoch},2.0,{3 - now / 50},{now},{now},{lr}")
                if lr == 1.0:
                    lines[-1] = f"{epochs - 1},nan,nan,0.1,0.5,{lr}"
                (path / "summary.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_outputs_of_timm(tmp_path):
    folder = outputs_of_timm(tmp_path / "outputs")
    read = read_results(folder, Columns(metrics=("eval_loss",)))
    assert read.columns == ("img_size", "lr", "epochs")
    found = judge_table(read, "img_size=16", "img_size=64", metrics=("eval_loss",))
    assert found.verdict.answer == "stands in"
    assert found.by_metric[0].verdict.answer == "stands in"
    assert {row.error for row in read.rows if row.decisions["lr"] == 1.0} == {math.inf}
    early = judge_table(read, "img_size=64,epochs=2", "img_size=64,epochs=4")
    assert early.verdict.configurations == 6
    some = next(folder.iterdir())
    with pytest.raises(StudyError, match="the summary of one run"):
        read_results(some / "summary.csv")
    (some / "args.yaml").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        read_results(folder)


def test_a_study_against_a_table_of_another_network(tmp_path, capsys):
    write_study(tmp_path / "study", sizes=(8, 16), seeds=2)
    lines = ["lr,width,seed,acc"]
    for lr in (0.005, 0.0125, 0.032, 0.08, 0.2, 0.5):
        lines += [
            f"{lr},{width},0,{70 + width - abs(math.log10(lr / 0.08)):.2f}" for width in (1, 2)
        ]
    table = tmp_path / "production.csv"
    table.write_text("\n".join(lines) + "\n")

    def judged(*flags):
        with pytest.raises(SystemExit) as ended:
            main(["judge", str(tmp_path / "study"), str(table), *flags])
        return int(ended.value.code or 0), capsys.readouterr()

    unit = ("--error", "acc", "--unit", "accuracy-percent")
    status, text = judged("--proxy", "size=8", *unit)
    assert status == 0, text.err
    assert text.out.startswith("source=study,size=8 ")
    assert "for source=production" in text.out
    status, text = judged("--proxy", "size=8", "--target", "size=224", *unit)
    assert status == 1
    assert "has no column 'size', it has lr, width" in text.err
    assert "leave size out of --target" in text.err
