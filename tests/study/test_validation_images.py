"""Outcomes of single validation images in a report: noise, new images, classes."""

import json
from types import MappingProxyType

import numpy as np
import pytest

import lowres
from lowres.recipe import Recipe
from lowres.report.analysis import analyse
from lowres.report.reading import read_rows
from lowres.study.judging import judge_table
from lowres.study.results_of_runs import of_runs
from made_runs import write_run

IMAGES, CLASSES = 240, 8
RATES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)


class Labelled:
    """Stands for a store with more validation images than the tests build."""

    classes = tuple(f"class {n}" for n in range(CLASSES))
    splits = MappingProxyType({"train": 9, "val": IMAGES})

    def labels(self, split):
        assert split == "val"
        return np.repeat(np.arange(CLASSES), IMAGES // CLASSES)


def write_outcomes(folder, *, without=()):
    """Write runs of two sizes; on 8 px, class 0 is lost and class 7 is not touched."""
    random = np.random.default_rng(0)
    labels = Labelled().labels("val")
    hard = random.normal(0, 1.0, IMAGES)
    for size in (8, 16):
        lost = np.where(labels == 0, 3.0, np.where(labels == 7, 0.0, 0.8)) * (size == 8)
        for rate in RATES:
            away = np.log10(rate / 0.06) ** 2
            for seed in (0, 1, 2):
                chance = 1 / (1 + np.exp(1.2 - hard - lost - away))
                wrong = random.random(IMAGES) < chance
                recipe = Recipe(variant=f"{size}-box", lr=rate, epochs=2, seed=seed)
                kept = None if (size, rate, seed) in without else wrong
                write_run(folder, recipe, float(wrong.mean()), wrong=kept)
    return folder


@pytest.fixture
def labelled(monkeypatch):
    monkeypatch.setattr("lowres.study.validation_images.reopen_store", lambda *_: (Labelled(), ""))


def test_classes_noise_and_new_images(tmp_path, labelled):
    found = analyse(read_rows(write_outcomes(tmp_path))[0])
    images = found.images
    assert (images.proxy, images.target) == ("8-box", "16-box")
    assert images.noise.images == IMAGES
    assert images.classes[0].name == "class 0"
    assert images.classes[0].transfer.sure
    assert images.classes[-1].name == "class 7"
    assert images.ranks.value is not None
    advice, classes = images.sentences
    assert "more validation images help more" in advice
    assert classes.startswith("Classes from 16-box to 8-box (rank correlation ")
    assert "lose more on 8-box than other classes: class 0" in classes
    assert set(images.sentences) < set(found.main_sentences)
    (pair,) = found.pairs
    assert pair.verdict.most_new > pair.verdict.shortlists[0].most


def test_the_page_and_the_files_have_them(tmp_path, labelled):
    page, text, record = lowres.write_report(write_outcomes(tmp_path), ("html", "md", "json")).files
    assert "Validation images and classes" in page.read_text()
    assert "at most, new images" in page.read_text()
    assert "| class 0 |" in text.read_text()
    images = json.loads(record.read_text())["images"]
    assert images["classes"][0]["name"] == "class 0"
    assert 0 <= images["noise"]["share"] <= 1


def test_a_run_without_outcomes_leaves_the_rest_valid(tmp_path, labelled):
    found = analyse(read_rows(write_outcomes(tmp_path, without={(16, 0.08, 1)}))[0])
    assert found.pairs[0].verdict.most_new is None
    assert found.pairs[0].verdict.p_bearable == pytest.approx(
        analyse(read_rows(write_outcomes(tmp_path / "whole"))[0]).pairs[0].verdict.p_bearable
    )


def test_without_the_store_there_are_no_classes(tmp_path):
    found = analyse(read_rows(write_outcomes(tmp_path))[0])
    assert found.images.classes == ()
    assert len(found.images.sentences) == 1


def test_judge_has_them_too(tmp_path, labelled):
    found = judge_table(of_runs(write_outcomes(tmp_path)), "size=8", "size=16")
    record = found.to_record()
    assert record["most_points_new_images"] > record["most_points"]
    assert record["images"]["classes"][0]["name"] == "class 0"
    assert found.images.configuration == f"lr {found.choice['lr']:g}"
    lines = "\n".join(found.lines())
    assert "On new images the choice costs at most " in lines
    assert "more validation images help more" in lines
    json.dumps(record, allow_nan=False)
