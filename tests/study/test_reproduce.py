"""The cells of Table 1: their figures, and every command of the page, on drawn tars of ImageNet."""

import csv
import gzip
import re
import shlex
from pathlib import Path

import pytest

from images import draw_image, encoded
from lowres import cli
from lowres.errors import StudyError
from lowres.imagenet import devkit_wnids
from lowres.study.reproduce import TABLE1, Reproduction, append_row, find_cell
from lowres.training.run import Run
from packing import pack

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "imagenet.md"
IDS = (490, 361)
"""Devkit ids of the classes of the stand-in."""


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """Write a folder with the tars of ImageNet, two classes of 33 images, and work beside it."""
    folder, truth = tmp_path / "imagenet", "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground"
    folder.mkdir()
    tars = {}
    for devkit_id in IDS:
        wnid = devkit_wnids()[devkit_id - 1]
        images = {f"{wnid}_{n}.JPEG": encoded(draw_image(n + devkit_id, 40, 36)) for n in range(33)}
        tars[f"{wnid}.tar"] = pack(tmp_path / "class.tar", images).read_bytes()
    pack(folder / "ILSVRC2012_img_train.tar", tars)
    val = {f"ILSVRC2012_val_{n:08}.JPEG": encoded(draw_image(n, 40, 36)) for n in range(1, 5)}
    pack(folder / "ILSVRC2012_img_val.tar", val)
    lines = "".join(f"{devkit_id}\n" for devkit_id in IDS * 2).encode()
    kit = pack(tmp_path / "kit.tar", {f"{truth}_truth.txt": lines}).read_bytes()
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(gzip.compress(kit))
    monkeypatch.chdir(tmp_path)
    return folder


def call(capsys, command: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(command)[1:])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_cells_have_the_papers_networks():
    parameters = {
        "wrn-20-10@16": 8_932_664,
        "wrn-28-2@32": 1_596_216,
        "wrn-28-5@32": 9_452_664,
        "wrn-28-10@32": 37_118_264,
        "wrn-36-1@64": 1_615_224,
        "wrn-36-2@64": 6_185_784,
        "wrn-36-5@64": 37_638_264,
    }
    assert {cell.name: cell.shape.parameters() for cell in TABLE1} == parameters


def test_estimates_are_the_measured_ones_where_something_was_measured():
    """0.5947 h for WRN-28-2 and 10,067 images/s for WRN-28-10 (bench/results), 594 on the CPU."""
    small, large = find_cell("wrn-28-2@32"), find_cell("wrn-28-10@32")
    shown = small.recipe().steps(1_281_167) * 128
    assert small.h100_s(small.recipe()) == pytest.approx(0.5947 * 3600, rel=0.03)
    assert large.h100_s(large.recipe()) == pytest.approx(shown / 10_067, rel=0.03)
    assert small.xeon_s(small.recipe()) == pytest.approx(shown / 594, rel=0.01)
    assert small.operations(small.recipe()) == pytest.approx(0.13e18, rel=0.02)


def test_an_unknown_cell_has_a_near_name():
    with pytest.raises(StudyError, match=r"no cell 'wrn-28-2@64'.*did you mean wrn-\d\d-2@\d\d"):
        find_cell("wrn-28-2@64")


def test_the_plan_writes_nothing_and_is_what_the_page_quotes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text().replace("\\\n  ", "")
    for command in ("lowres reproduce table1", "lowres reproduce table1 --cell wrn-28-2@32"):
        status, words, _ = call(capsys, command)
        assert status == 0
        for line in words.splitlines()[:-1]:
            assert line in page
    assert not list(tmp_path.iterdir())
    words = call(capsys, "lowres reproduce table1 --cell wrn-36-1@64 --strict --seed 3 -o there")[1]
    assert "no estimate, because no speed in float32 was measured" in words
    assert "imagenet --cell wrn-36-1@64 --strict --seed 3 --out there\n" in words


@pytest.mark.full
def test_every_command_of_the_page_on_a_stand_in(imagenet, capsys):
    """Trainings take one epoch in place of 40."""
    blocks = re.findall(r"^```sh parse\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line.split(" #")[0] for line in lines if line.startswith("lowres")]
    assert len(commands) >= 8
    for command in commands:
        trains = "table1 imagenet" in command or "lowres train" in command
        shorter = re.sub(r" --epochs \d+", "", command) + " --epochs 1" * trains
        status, words, notes = call(capsys, shorter)
        assert status == 0, f"{shorter}\n{words}{notes}"
    (row,) = csv.DictReader((imagenet.parent / "results.csv").read_text().splitlines())
    assert row["cell"] == "wrn-28-2@32"
    assert row["device"]
    assert row["differs"] == (
        "train has 66 images and not 1,281,167; val has 4 images and not 50,000; "
        "2 classes and not 1,000; 1 epoch and not 40"
    )


@pytest.mark.full
def test_the_same_command_resumes_without_the_source(imagenet, capsys):
    command = "lowres reproduce table1 imagenet --cell wrn-28-2@32 --epochs 1 -q"
    assert call(capsys, f"{command} --record there.csv")[0] == 0
    run = Run.open(Path("table1/wrn-28-2@32-epochs1-seed0"))
    before = (run.path / "result.json").stat().st_mtime_ns
    for file in imagenet.iterdir():
        file.unlink()
    status, words, _ = call(capsys, f"{command} --record there.csv")
    assert status == 0
    assert "It is no result for Table 1: train has 66 images" in words
    assert words.endswith("there.csv: the run is there already\n")
    assert (run.path / "result.json").stat().st_mtime_ns == before


def test_nothing_is_recorded_of_an_unfinished_run(store, tmp_path):
    cell = find_cell("wrn-28-2@32")
    recipe = cell.recipe()
    wanted = Reproduction(cell, recipe, tmp_path)
    Run.plan(wanted.run, type(recipe)(variant="16-box", batch_size=8), store)
    with pytest.raises(StudyError, match="not finished, so there is nothing to record"):
        wanted.row()


def test_a_run_that_does_not_exist_is_not_recorded(tmp_path):
    cell = find_cell("wrn-28-2@32")
    with pytest.raises(StudyError, match=r"does not exist.*name its --epochs"):
        Reproduction(cell, cell.recipe(), tmp_path).row()


def test_records(tmp_path):
    path = tmp_path / "results.csv"
    assert append_row(path, {"cell": "a", "weights_sha256": "1"})
    assert append_row(path, {"cell": "b", "weights_sha256": "2"})
    assert not append_row(path, {"cell": "b", "weights_sha256": "2"})
    assert path.read_text() == "cell,weights_sha256\na,1\nb,2\n"
    with pytest.raises(StudyError, match="has other columns"):
        append_row(path, {"other": 1, "weights_sha256": "3"})


def test_a_cell_without_its_name(capsys):
    status, _, words = call(capsys, "lowres reproduce table1 imagenet")
    assert status == 1
    assert "--cell is missing; it is one of wrn-20-10@16" in words
