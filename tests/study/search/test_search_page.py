"""The Python example of docs/search.md runs as printed, on a smaller plan."""

import re
from pathlib import Path

import pytest

from lowres.study.search.search import Search

PAGE = Path(__file__).resolve().parents[3] / "docs" / "search.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documents are not here")


@pytest.mark.full
def test_the_example_runs(store_path, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for printed, smaller in (
        ("epochs=20", "width=0.5, blocks=1, epochs=1, batch_size=8"),
        ("sizes=(8, 16, 32)", "sizes=(8,)"),
        ("budget=10", "budget=1"),
        ('"store"', repr(str(store_path))),
    ):
        assert printed in code
        code = code.replace(printed, smaller)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    changes, macs = capsys.readouterr().out.split("} ")
    assert changes.startswith("{'lr': ")
    assert int(macs) > 0
    assert Search.open(tmp_path / "search").finished
