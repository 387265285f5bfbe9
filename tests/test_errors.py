"""Words that many errors share: what to install, and which name was meant."""

import json
from pathlib import Path

import pytest

from lowres.errors import MissingExtraError, install_command, nearest, require


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Pretend that an installer recorded where lowres came from (PEP 610)."""

    def record(direct_url: dict | None) -> None:
        folder = tmp_path / "lowres-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lowres\nVersion: 9.9\n")
        if direct_url is not None:
            (folder / "direct_url.json").write_text(json.dumps(direct_url))
        monkeypatch.syspath_prepend(tmp_path)

    return record


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        (None, "pip install 'lowres[train]'"),
        (
            {"url": "file:///home/me/low%20res", "dir_info": {"editable": True}},
            "pip install -e '/home/me/low res[train]'",
        ),
        ({"url": "file:///src/lowres", "dir_info": {}}, "pip install '/src/lowres[train]'"),
        (
            {"url": "https://x.org/l.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'lowres[train] @ git+https://x.org/l.git@abc'",
        ),
        (
            {"url": "file:///l-9.9.whl", "archive_info": {}},
            "pip install 'lowres[train] @ file:///l-9.9.whl'",
        ),
    ],
)
def test_the_command_installs_an_extra_from_where_lowres_came_from(installed, direct_url, command):
    installed(direct_url)
    assert install_command("train") == command


def test_a_checkout_that_nobody_installed_is_installed_from_its_folder(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    root = Path(__file__).resolve().parents[1]
    assert install_command("train") == f"pip install -e '{root}[train]'"


def test_a_missing_extra_names_the_module_and_the_command(installed):
    installed(None)
    words = r"needs no_such_module, .*; run: pip install 'lowres\[ray\]'"
    with pytest.raises(MissingExtraError, match=words):
        require("no_such_module", "ray")


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("wdith", ["width", "blocks"], "did you mean width?"),
        ("bea", ["ant", "bee"], "did you mean bee?"),
        ("--quite", ["--fit", "--quiet"], "did you mean --quiet?"),
        ("--quiet", ["--fit", "--split"], "otherwise"),
    ],
)
def test_only_a_near_name_is_suggested(word, known, hint):
    assert nearest(word, known, "otherwise") == hint
