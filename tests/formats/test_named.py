import gzip
import struct
from pathlib import Path

import pytest

from lowres.errors import SourceError
from lowres.formats import open_source
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.store.store import open_store


def lay(folder: Path) -> None:
    """Write a set of 20 and 10 images of 5 px as MNIST's idx files."""
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("t10k", 10)):
        labels = bytes(number % 10 for number in range(count))
        images = bytes(number * 7 % 256 for number in range(count * 25))
        for name, shape, items in (
            ("labels-idx1", (count,), labels),
            ("images-idx3", (count, 5, 5), images),
        ):
            head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(head + items))


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("LOWRES_DATA", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize(
    "place",
    ["work/data/FashionMNIST/raw", "home/data/fashion-mnist", "home/.keras/datasets/fashion-mnist"],
)
def test_a_set_is_found_where_packages_leave_it(home, place):
    lay(home / place)
    source = open_source(Path("fashion-mnist"))
    assert "Ankle boot" in source.index().classes
    build(Path("fashion-mnist"), home / "store", BuildOptions(size=(4,), filter=("box",)))
    store = open_store(home / "store")
    assert store.images("train", "4-box").shape[1:] == (4, 4, 3)


def test_the_variable_comes_first_and_a_path_that_exists_is_a_path(home, monkeypatch):
    monkeypatch.setenv("LOWRES_DATA", str(home / "sets"))
    lay(home / "sets" / "mnist")
    assert open_source(Path("mnist")).path == home / "sets" / "mnist"
    Path("mnist").mkdir()
    assert open_source(Path("mnist")).path == Path("mnist")


def test_a_set_that_is_not_there_says_where_lowres_looked(home):
    with pytest.raises(SourceError, match="cifar-10 is not on this machine: none of data/cif") as e:
        open_source(Path("cifar-10"))
    assert "sets.CIFAR10('data', download=True)" in str(e.value)
    with pytest.raises(SourceError, match="source elsewhere/mnist does not exist"):
        open_source(Path("elsewhere/mnist"))
