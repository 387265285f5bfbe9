"""Recipes take filter, fit and rule of a store that has one of each; retries name trusted code."""

import re

import pytest

from lowres.recipe import Recipe
from lowres.store.build import build
from lowres.store.options import BuildOptions
from lowres.variant import Variant


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (["8-box-release-2017", "16-box-release-2017"], "32-box-release-2017"),
        (["16-lanczos-crop"], "32-lanczos-crop"),
        (["16-box", "16-lanczos"], "32-box"),
        (["16-box"], "32-box"),
    ],
)
def test_a_recipe_on_variants(variants, expected):
    assert Recipe(variant="32-box").on(map(Variant.parse, variants)).variant == expected


@pytest.fixture
def released(source, tmp_path):
    path = tmp_path / "released"
    build(source, path, BuildOptions(size=(8, 16), rule="release-2017"))
    return path


def names_of(text):
    return set(re.findall(r"\d+-box-release-2017(?=-)", text))


def test_sizes_of_a_study_are_those_of_the_store(call, released, tmp_path):
    out = tmp_path / "study"
    status, text, err = call(
        "study", released, "--axis", "size=8,16", "--batch-size", 8, "--out", out,
        "--print-commands",
    )  # fmt: skip
    assert status == 0, err
    assert names_of(text) == {"8-box-release-2017", "16-box-release-2017"}
    for flags, missing in (
        (["--variant", "16-box", "--axis", "lr=0.1,0.2"], "16-box"),
        (["--axis", "size=8", "--axis", "rule=pillow"], "8-box"),
    ):
        flags = (*flags, "--batch-size", 8, "--out", tmp_path / "o", "--print-commands")
        words = call("study", released, *flags)[2]
        assert f"has no variant {missing}; it has 8-box-release-2017, 16-box" in words


@pytest.mark.full
def test_one_run_and_a_search(call, released, tmp_path):
    small = ("--epochs", 1, "--batch-size", 8, "--width", 0.25, "--blocks", 1, "-q")
    status, _, words = call("train", released, "--out", tmp_path / "run", *small)
    assert status == 1
    assert "has no variant 32-box-release-2017; it has" in words
    search = ("--sizes", "8,16", "--space", "lr=log:0.01:0.1", "--budget", 1.3)
    status, _, err = call("search", released, *search, "--out", tmp_path / "search", *small)
    assert status == 0, err


@pytest.mark.full
def test_a_command_to_try_again_names_the_code_to_trust(call, store_path, tmp_path, monkeypatch):
    (tmp_path / "wrong_network.py").write_text("def net(size):\n    return None\n")
    monkeypatch.chdir(tmp_path)
    status, text, _ = call(
        "study", store_path, "--axis", "size=8", "--model", "wrong_network:net", "--epochs", 1,
        "--batch-size", 8, "--out", "nets", "-q",
    )  # fmt: skip
    assert status == 1
    assert "lowres calls it as function(classes, size, arguments by name)" in text
    assert "to try again, run: lowres study nets --trust wrong_network:net" in text
