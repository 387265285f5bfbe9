"""The first screen of a page: the pair that it is about, its commands, and its chart."""

import shlex
from dataclasses import replace

import pytest

from lowres.cli.app import app
from lowres.cli.recipe_flags import recipe_of
from lowres.recipe import RECIPES, Recipe
from lowres.report.analysis import analyse, main_pair
from lowres.report.headline import headline, train_command
from lowres.report.reading import read_rows
from made_runs import fail_run, write_run, write_study


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    return analyse(read_rows(write_study(tmp_path_factory.mktemp("studies") / "study"))[0])


def test_the_smallest_proxy_that_stands_in_for_the_largest_size_comes_first(analysis):
    assert main_pair(analysis.pairs).verdict.proxy == "8-box"
    first = headline(analysis, "study", True)
    assert first.question == "Can 8-box stand in for 32-box?"
    assert first.word == "Yes"
    assert "costs at most 0.2 points of error on 32-box (95 % sure)" in first.sentence
    assert first.next_command.startswith("lowres search store --sizes 8,32 ")
    assert {"8-box", "16-box"} < {series.name for series in first.chart.series}


def test_of_two_filters_the_one_with_less_error_comes_first(tmp_path):
    folder = write_study(tmp_path, sizes=(8, 16), filters=("box", "nearest"), widths=(1.0,))
    assert main_pair(analyse(read_rows(folder)[0]).pairs).verdict.proxy == "8-box"


def test_an_unsure_pair_is_decided_next(tmp_path):
    rates = (0.01, 0.03, 0.1, 0.3, 1.0)
    for size, errors in ((8, (0.5, 0.6, 0.52, 0.58, 0.6)), (16, (0.42, 0.41, 0.43, 0.4, 0.42))):
        for lr, error in zip(rates, errors, strict=True):
            write_run(tmp_path, Recipe(variant=f"{size}-box", lr=lr), error)
    unsure = analyse(read_rows(tmp_path)[0])
    first = headline(unsure, "a study", True)
    assert not unsure.pairs[0].verdict.sure
    assert first.next_command == "lowres decide 'a study' --proxy size=8 --target size=16"
    assert "--seeds 2" in headline(unsure, "runs", False).next_command


def test_few_configurations_need_more_of_them_and_no_seeds(tmp_path):
    for size, errors in ((8, (0.8, 0.5, 0.7)), (16, (0.7, 0.3, 0.6))):
        for lr, error in zip((0.001, 0.1, 1.0), errors, strict=True):
            for seed in range(3):
                recipe = Recipe(variant=f"{size}-box", lr=lr, seed=seed)
                write_run(tmp_path, recipe, error + 0.001 * seed)
    few = analyse(read_rows(tmp_path)[0])
    first = headline(few, "study", True)
    assert first.word == "Probably"
    assert first.sentence.endswith(" With fewer than 5 configurations no answer is sure.")
    assert first.next_command == "--axis lr=0.001,0.032,0.056,0.1,0.18,0.32,1"
    assert few.pairs[0].sentence.endswith("Next: run 5 configurations or more on both sides.")


def test_a_best_learning_rate_at_the_edge_is_said(tmp_path, analysis):
    assert "was tried" not in headline(analysis, "study", True).best_note
    for lr, error in ((0.01, 0.5), (0.02, 0.4), (0.04, 0.3)):
        write_run(tmp_path, Recipe(lr=lr, epochs=1), error)
    found = headline(analyse(read_rows(tmp_path)[0]), "runs", False)
    assert found.best_note == (
        "Best so far: 30.0 % top-1 error on val at 32-box, 1 run. Its learning rate is the "
        "largest that was tried"
    )
    write_run(tmp_path, Recipe(lr=0.08, epochs=1), None)
    found = headline(analyse(read_rows(tmp_path)[0]), "runs", False)
    assert found.best_note.endswith(", 1 run"), "a larger one diverged"


def test_a_study_of_filters_alone_begins_with_them(tmp_path):
    filters = ("box", "lanczos", "nearest")
    folder = write_study(tmp_path, sizes=(16,), filters=filters, widths=(1.0,))
    analysis = analyse(read_rows(folder)[0])
    first = headline(analysis, "runs", True)
    assert (first.question, first.chart) == ("Filters at 16 px: does the choice matter?", None)
    assert (first.word == "Yes") == bool(analysis.filters[0].comparison.findings)
    assert first.sentence == f"{analysis.filters[0].sentence}."
    assert analysis.main_sentences[0] == analysis.filters[0].sentence


def test_without_a_pair_a_study_of_two_sizes_is_next(tmp_path):
    fail_run(tmp_path / "run", Recipe(), "no")
    first = headline(analyse(read_rows(tmp_path)[0]), "runs", False)
    assert (first.word, first.best, first.chart) == ("Unknown", "", None)
    assert "--axis size=16,32" in first.next_command


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(variant="16-box"),
        replace(RECIPES["fast"], variant="8-box", lr=0.123456789, lr_drop_at=(0.25, 0.5)),
        replace(RECIPES["tensorflow-port"], conv_bias=True, seed=3, lr_drop_at=()),
    ],
)
def test_the_command_makes_the_same_recipe(recipe, store):
    words = shlex.split(train_command(recipe, "store"))
    _, bound, _ = app.parse_args(words[1:])
    assert recipe_of(bound.arguments["recipe"], store) == recipe
    assert f"--variant {recipe.variant}" in " ".join(words)
