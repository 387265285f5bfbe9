"""Tables of paths and labels: what is read, left out with a note, and refused."""

import json
from pathlib import Path

import pytest

import lowres
from images import draw_image, encoded
from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.formats.table import TableSource
from lowres.reading import Reading
from lowres.store.build import build
from lowres.testing import SourceContract

JPEG = encoded(draw_image(1, 20, 20))
TWO = "file,label\na.jpg,cat\nb.jpg,dog\n"


def write(root: Path, table: str, text: str, *images: str) -> Path:
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)
    path = root / table
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def labels(path: Path, **reading: object) -> dict[str, dict[str, str]]:
    """Return the class of each key, by split."""
    index = open_source(path, Reading(**reading)).index()
    return {
        split: {entry.key: index.classes[entry.label] for entry in entries}
        for split, entries in index.splits.items()
    }


def notes(path: Path, **reading: object) -> str:
    return "; ".join(open_source(path, Reading(**reading)).index().notes)


class TestTableSource(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return open_source(write(tmp_path, "images.csv", TWO, "a.jpg", "b.jpg"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("images.csv", TWO),
        ("images.CSV", "\ufeff" + TWO.replace("\n", "\r\n")),
        ("images.csv", TWO.replace(",", ";")),
        ("images.csv", 'file,label\n"a.jpg", cat\n\nb.jpg,"dog "\n'),
        ("images.tsv", TWO.replace(",", "\t")),
        ("images.csv", "label,size,Image Path\ncat,3,a.jpg\ndog,4,./b.jpg\n"),
        ("images.csv", "id,breed\na,cat\nb,dog\n"),
        ("images.jsonl", '{"path": "a.jpg", "label": "cat"}\n{"label": "dog", "path": "b.jpg"}\n'),
    ],
)  # fmt: skip
def test_forms(tmp_path, name, text):
    path = write(tmp_path, name, text, "a.jpg", "b.jpg")
    assert labels(path) == {"train": {"a.jpg": "cat", "b.jpg": "dog"}}


def test_parquet(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = write(tmp_path, "images.parquet", "", "a.jpg", "b.jpg")
    parquet.write_table(arrow.table({"file": ["a.jpg", "b.jpg"], "y": [1, 0]}), path)
    assert labels(path, paths="file", labels="y") == {"train": {"a.jpg": "1", "b.jpg": "0"}}
    assert labels(path) == {"train": {"a.jpg": "1", "b.jpg": "0"}}, "file leaves no doubt"
    parquet.write_table(arrow.table({"image": ["a.jpg", "b.jpg"], "label": ["x", "y"]}), path)
    assert labels(path) == {"train": {"a.jpg": "x", "b.jpg": "y"}}, "image names files, too"
    parquet.write_table(arrow.table({"where": ["a.jpg", "b.jpg"], "label": ["x", "y"]}), path)
    with pytest.raises(SourceError, match="name their column by --paths COLUMN"):
        labels(path)
    path.write_bytes(b"PAR1 damaged")
    with pytest.raises(SourceError, match="no Parquet file, or damaged"):
        labels(path, paths="file", labels="y")


def test_columns_by_flags_and_splits_by_a_column(tmp_path):
    text = "where,what,part,label\na.jpg,cat,train,1\nb.jpg,dog,train,1\nc.jpg,cat,validation,2\n"
    path = write(tmp_path, "x.csv", f"{text}d.jpg,dog,extra,3\n", *(f"{c}.jpg" for c in "abcd"))
    flags = {"paths": "where", "labels": "what", "split": "part"}
    expected = {"train": {"a.jpg": "cat", "b.jpg": "dog"}, "val": {"c.jpg": "cat"}}
    assert labels(path, **flags) == expected
    assert "left out 1 images of x.csv whose part is 'extra'" in notes(path, **flags)


def test_splits_by_folder_or_by_the_name_of_the_table(tmp_path):
    images = "train/a.jpg", "train/b.jpg", "val/a.jpg"
    path = write(tmp_path, "x.csv", "".join(["file,label\n", *(f"{i},{i[-5]}\n" for i in images)]),
                 *images)  # fmt: skip
    assert {split: len(rows) for split, rows in labels(path).items()} == {"train": 2, "val": 1}
    path = write(tmp_path, "val.csv", TWO, "a.jpg", "b.jpg")
    assert list(labels(path)) == ["val"]


def test_a_built_store(tmp_path):
    path = write(tmp_path / "set", "x.csv", TWO, "a.jpg", "b.jpg")
    build(path, tmp_path / "store", lowres.BuildOptions(size=8, paths="file", labels="label"))
    store = lowres.open_store(tmp_path / "store")
    assert store.classes == ("cat", "dog")
    assert store.keys("train") == ["a.jpg", "b.jpg"]
    assert store.manifest.options["paths"] == "file"
    assert "unlabelled" not in store.manifest.options


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["10", "9", "10", "9"], ["9", "10"]),
        (["1.0", "", "0.0", "nan"], ["0", "1"]),
        (["3", "-1", "2", "NaN"], ["2", "3"]),
        (["nan", "rice", "nan", "rice"], ["nan", "rice"]),
        (["2 legs", "10 legs", "10 legs", "2 legs"], ["10 legs", "2 legs"]),
    ],
)
def test_labels_as_names_and_numbers(tmp_path, values, classes):
    text = "".join(f"{n}.jpg,{value}\n" for n, value in enumerate(values))
    path = write(tmp_path, "x.csv", f"file,label\n{text}", *(f"{n}.jpg" for n in range(4)))
    assert list(open_source(path).index().classes) == classes
    missing = sum(value in ("", "-1") or (value.lower() == "nan" and classes[0] != "nan")
                  for value in values)  # fmt: skip
    assert (f"left out {missing} images of x.csv without a label" in notes(path)) == bool(missing)


@pytest.mark.parametrize("values", [[0, 1], [1.0, None, 0.0], [True, False], ["a", "b"]])
def test_labels_of_json(tmp_path, values):
    lines = [json.dumps({"path": f"{n}.jpg", "class": value}) for n, value in enumerate(values)]
    path = write(tmp_path, "x.jsonl", "\n".join(lines), *(f"{n}.jpg" for n in range(len(values))))
    assert len(open_source(path).index().classes) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{TWO}c.jpg,cat\n", "names 1 files that do not exist, c.jpg in line 4 first"),
        (f"{TWO},cat\n", "line 4: file is empty"),
        (f"{TWO}../c.jpg,cat\n", r"line 4: \.\./c.jpg leaves the folder of the table"),
        (f"{TWO}/etc/passwd,cat\n", "line 4: /etc/passwd leaves the folder of the table"),
        (f"{TWO}x/../../c.jpg,cat\n", "leaves the folder"),
        (f"{TWO}C:\\images\\c.jpg,cat\n", "leaves the folder"),
        (f"{TWO}a.jpg,dog\n", "lines 2 and 4 both name a.jpg in train"),
        (f"{TWO}./a.jpg,cat\n", "lines 2 and 4 both name a.jpg"),
        (f"{TWO}a.jpg,c,d\n", "line 4 must have 2 values, was 3"),
        ("file,label\na.jpg,0.5\nb.jpg,0.25\n", "line 2: label must be a class name or a whole"),
        ("file,label\na.jpg,-3\nb.jpg,0\n", "line 2: a label must be a number from 0 up, was -3"),
        ("file,label\na.jpg,\nb.jpg,\n", "labels no images; left out 2 images"),
        ("file,label\na.jpg,../x\nb.jpg,y\n", r"line 2: a class name must .* was '\.\./x'"),
        ("file,label\n", "labels no images; it has no rows"),
        ("a.jpg,cat\nb.jpg,dog\n", "name the one with the paths .* --paths COLUMN"),
        ("file,age,sex\na.jpg,3,f\n", "columns file, age, sex: name the one with the classes"),
        ("file,label,class\na.jpg,3,f\n", "name the one with the classes by --labels"),
        ("file,file\na.jpg,b\n", "two columns named file"),
        ("", "must begin with a line of column names"),
        ("file,label\n\"a.jpg,cat\n", "unexpected end of data"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, text, words):
    path = write(tmp_path, "x.csv", text, "a.jpg", "b.jpg")
    with pytest.raises(SourceError, match=words):
        open_source(path).index()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"path": "a.jpg", "label": "cat"}\n[1]\n', "line 2 must be a JSON object"),
        ('{"path": "a.jpg", "label": "cat"}\n{"pa\n', "line 2 is no JSON"),
        ('{"path": "a.jpg", "label": [1, 2]}\n', "line 1: label must be a class name or a whole"),
        ("[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_refusals_of_json_lines(tmp_path, text, words):
    with pytest.raises(SourceError, match=words):
        open_source(write(tmp_path, "x.jsonl", text, "a.jpg")).index()


def test_columns_that_do_not_exist_and_sources_that_are_no_table(tmp_path, source):
    path = write(tmp_path, "x.csv", TWO, "a.jpg", "b.jpg")
    with pytest.raises(SourceError, match="has no column 'lable' for --labels: it has file, label"):
        open_source(path, Reading(labels="lable")).index()
    with pytest.raises(SourceError, match=r"--labels name columns of a table, and .* is none"):
        open_source(tmp_path / "a.jpg", Reading(labels="label"))
    with pytest.raises(SourceError, match="is a folder without a table: name the table itself"):
        open_source(source, Reading(labels="label")).index()
    (tmp_path / "x.csv").write_bytes(b"file,label\na.jpg,\xff\n")
    with pytest.raises(SourceError, match="save it again as UTF-8"):
        open_source(path).index()


def test_absolute_paths_and_backslashes_below_the_folder(tmp_path):
    text = f"file,label\n{tmp_path}/in/a.jpg,cat\nin\\b.jpg,dog\n"
    path = write(tmp_path, "x.csv", text, "in/a.jpg", "in/b.jpg")
    assert labels(path) == {"train": {"in/a.jpg": "cat", "in/b.jpg": "dog"}}


def test_kaggle_flat_folders_beside_a_table(tmp_path):
    write(tmp_path, "trainLabels.csv", "id,label\n1,frog\n2,truck\n",
          "train/1.png", "train/2.png", "test/1.png")  # fmt: skip
    assert isinstance(open_source(tmp_path), TableSource)
    assert labels(tmp_path) == {"train": {"train/1.png": "frog", "train/2.png": "truck"}}
    assert labels(tmp_path / "trainLabels.csv") == labels(tmp_path)
    assert "left out test: no table labels its images" in notes(tmp_path)
    (tmp_path / "train" / "1.jpg").write_bytes(JPEG)
    with pytest.raises(SourceError, match=r"has 1.jpg and 1.png: write the suffixes"):
        open_source(tmp_path).index()


def test_a_folder_that_two_may_mean(tmp_path):
    path = write(tmp_path, "x.csv", "id,label\n1,frog\n", "one/1.png", "two/1.png")
    with pytest.raises(SourceError, match=r"names 1, which exists in one and in two: write one/1"):
        open_source(path).index()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_metadata_of_the_hub(tmp_path, form):
    for split, numbers in (("train", (0, 1)), ("validation", (2,))):
        rows = [(f"in/{n}.jpg", "cat" if n % 2 else "dog") for n in numbers]
        text = "".join(["file_name,label\n", *(f"{name},{label}\n" for name, label in rows)])
        if form == "jsonl":
            text = "\n".join(json.dumps({"file_name": n, "label": label}) for n, label in rows)
        write(tmp_path / split, f"metadata.{form}", text, *(name for name, _ in rows))
    assert labels(tmp_path) == {
        "train": {"train/in/0.jpg": "dog", "train/in/1.jpg": "cat"},
        "val": {"validation/in/2.jpg": "dog"},
    }


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("metadata.csv", "file_name,text\ncat/1.jpg,a cat\n"),
        ("metadata.jsonl", '{"file_name": "cat/1.jpg", "objects": [1], "width": 3}\n'),
        ("train.csv", "file,label\ncat/1.jpg,cat\n"),
        ("notes.csv", "file,label\ncat/1.jpg,cat\n"),
    ],
)
def test_class_folders_with_a_table_beside_stay_class_folders(tmp_path, table, text):
    write(tmp_path, table, text, "cat/1.jpg", "dog/2.jpg")
    assert open_source(tmp_path).kind == "folder"


def test_without_labels(tmp_path):
    path = write(tmp_path, "x.csv", "file,age,sex\na.jpg,3,f\nb.jpg,,\n", "a.jpg", "b.jpg")
    index = open_source(path, Reading(unlabelled=True)).index()
    assert (index.classes, index.labelled) == (("unlabelled",), False)
    assert len(index.splits["train"]) == 2
