"""What lowres promises to extend: a toy of each kind goes through every verb.

The toy format is the code block of docs/how-to/own-format.md, installed as a package of its own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lowres
from images import draw_source
from lowres import cli
from lowres.comparing.spectrum import REFERENCE
from lowres.errors import SourceError
from lowres.formats import FORMATS, Format, installed, open_source, writers
from lowres.resampling.filters import SUPPORT
from lowres.study.search.plan import SearchPlan
from lowres.study.study import Study
from lowres.testing import ExecutorContract, SinkContract, SourceContract
from lowres.variant import FILTERS
from lowres.work.executor import Result

PAGE = Path(__file__).parents[1] / "docs/how-to/own-format.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documents are not here")

NETWORK = '''
"""A network and an optimizer of one's own."""

import torch


def linear(classes, size):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * size * size, classes))


def plain(parameters, lr, **_):
    return torch.optim.SGD(parameters, lr=lr)
'''


class AllAtOnce:
    """A toy executor: every job is a process, and all start at once."""

    def finish(self, jobs):
        running = []
        try:
            for job in jobs:
                with job.log.open("ab") as log:
                    running.append(subprocess.Popen(job.command, stdout=log, stderr=log))
            for job, process in zip(jobs, running, strict=True):
                yield Result(job, process.wait())
        finally:
            for process in running:
                process.kill()
                process.wait()


def install(folder: Path, package: str, code: str, point: str = "") -> None:
    """Lay a package out as pip does."""
    (folder / f"{package}.py").write_text(code)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[lowres.formats]\n{point}\n" if point else "")


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """A folder of installed packages, for this process and those that it starts."""
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(folder)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    installed.cache_clear()
    before = set(sys.modules)
    yield folder
    installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("lowres_"):
            del sys.modules[name]


@pytest.fixture
def arrays(site):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    header, line = toml.strip().splitlines()
    assert header == '[project.entry-points."lowres.formats"]'
    install(site, "lowres_arrays", code, line.replace('"', ""))
    (found,) = installed()
    return found


class TestArraysSource(SourceContract):
    @pytest.fixture
    def opened(self, arrays, tmp_path):
        for split, names in (("train", "dog\nant\nant\n"), ("val", "ant\ndog\n")):
            images = np.random.default_rng(1).integers(0, 256, (len(names) // 4, 8, 8, 3), np.uint8)
            np.save(tmp_path / f"{split}.npy", images)
            (tmp_path / f"{split}.txt").write_text(names)
        assert type(open_source(tmp_path)) is arrays.reader
        return arrays.reader(tmp_path)


class TestArraysSink(SinkContract):
    @pytest.fixture
    def sink(self, arrays):
        assert writers()["arrays"] is arrays.writers["arrays"]
        return arrays.writers["arrays"]

    @pytest.fixture
    def reader(self, arrays):
        return arrays.reader


class TestAllAtOnce(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return AllAtOnce()


@pytest.mark.full
def test_every_verb_takes_what_is_added(arrays, site, tmp_path, monkeypatch, capsys):
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    install(site, "lowres_toys", NETWORK)
    draw_source(tmp_path / "animals")

    run("build", "animals", "drawn", "--size", "8")
    run("export", "drawn", "set", "--to", "arrays")
    about = run("info", "set")
    assert "source set: arrays, layout arrays" in about
    assert f"labels in the files: {arrays.reader.label_order}" in about
    run("build", "set", "store", "--size", "8")
    assert "source: arrays set" in run("info", "store")
    run("verify", "store")
    run("verify", "store", "--against", "set")
    run("show", "store", "--out", "sheet.png")
    run("export", "store", "again", "--to", "arrays")
    assert lowres.open_store("store").keys("train")[0] == "0000000"

    toys = ("--model", "lowres_toys:linear", "--optimizer", "lowres_toys:plain")
    tiny = (*toys, "--variant", "8-box", "--epochs", "1", "--batch-size", "8")
    assert "top-1 error" in run("train", "store", *tiny)
    planned = ("study", "store", "--axis", "lr=0.01,0.02", *tiny)
    assert run(*planned, "--print-commands").count("lowres train") == 2
    Study.open(Path("study")).finish(AllAtOnce())
    assert "study: 2 " in run("status", "study")
    run("report", "study")
    assert Path("study/report.html").exists()
    base = lowres.Recipe(
        model=toys[1], optimizer=toys[3], variant="8-box", epochs=1, batch_size=8
    )  # fmt: skip
    plan = SearchPlan(base=base, space=("lr=0.01,0.02",), sizes=(8,), budget=2)
    search = lowres.Search.start(Path("search"), lowres.open_store("store"), plan)
    assert search.finish(AllAtOnce(), at_a_time=2)["best"]["changes"]["lr"] in (0.01, 0.02)


def test_a_format_that_cannot_be_loaded_is_named(site, source):
    install(site, "lowres_broken", "import nothing_of_this_name", "odd = lowres_broken:FORMAT")
    words = r"format odd of the package lowres_broken .*No module.*pip uninstall lowres_broken"
    with pytest.raises(SourceError, match=words):
        open_source(source)


def test_an_entry_point_that_is_no_format_is_named(site, source):
    install(site, "lowres_wrong", "FORMAT = 5", "odd = lowres_wrong:FORMAT")
    with pytest.raises(SourceError, match=r"lowres_wrong:FORMAT must be a .*Format, was int"):
        open_source(source)


def test_a_format_in_the_table_needs_one_row(arrays, tmp_path, monkeypatch):
    """As for a format that becomes a part of lowres."""
    monkeypatch.setattr("lowres.formats.installed", lambda: ())
    monkeypatch.setattr("lowres.formats.FORMATS", (Format(arrays.reader), *FORMATS))
    np.save(tmp_path / "train.npy", np.zeros((2, 8, 8, 3), np.uint8))
    (tmp_path / "train.txt").write_text("ant\nbee\n")
    assert isinstance(open_source(tmp_path), arrays.reader)


def test_a_filter_is_in_every_table_of_filters():
    """Filters are compiled with lowres, so another package cannot add one."""
    assert {"nearest", *SUPPORT} == set(FILTERS) == set(REFERENCE)
