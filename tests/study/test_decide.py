"""Decisions on made-up runs: an executor that writes results instead of training."""

import json

import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.store.store import open_store
from lowres.study.axes import Axis
from lowres.study.decide import decide, default_sides
from lowres.study.judging import judge_table
from lowres.study.results_of_runs import of_runs
from lowres.study.study import Study
from made_runs import MadeUp

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)


def planned(store_path, path, executor, sizes=(8, 16), seeds=1):
    axes = [Axis("size", sizes), Axis("lr", RATES), Axis("seed", tuple(range(seeds)))]
    study = Study.plan(
        path, open_store(store_path), Recipe(width=1.0, epochs=1, batch_size=8), axes
    )
    study.finish(executor)
    return Study.open(path)


def test_two_runs_at_a_time_until_it_is_sure(store_path, tmp_path):
    executor = MadeUp(noise=0.02, moved=0.2)
    study = planned(store_path, tmp_path / "study", executor)
    before = len(executor.trained)
    looks = list(decide(study, "size=8", "size=16", executor, bearable=0.02, at_most=30))
    added = executor.trained[before:]
    assert len(added) == looks[-1].added <= 30
    assert {size for size, _, _ in added} <= {16}
    assert all(look.next_runs for look in looks[:-1])
    assert looks[-1].judgement.verdict.sure or looks[-1].added >= 29
    for one, other in zip(added[::2], added[1::2], strict=False):
        assert one[1] != other[1], "the choice and its rival"
    record = json.loads((tmp_path / "study" / "decide.json").read_text())
    assert [look["added"] for look in record["looks"]] == [look.added for look in looks]


def test_what_is_sure_already_trains_nothing(store_path, tmp_path):
    executor = MadeUp()
    study = planned(store_path, tmp_path / "study", executor, seeds=2)
    before = len(executor.trained)
    (look,) = decide(study, "size=8", "size=16", executor, bearable=0.01)
    assert look.judgement.verdict.answer == "stands in"
    assert len(executor.trained) == before


def test_a_target_without_runs_gets_its_grid_first(store_path, tmp_path):
    executor = MadeUp()
    study = planned(store_path, tmp_path / "study", executor, sizes=(8,), seeds=2)
    with pytest.raises(StudyError, match="runs of one size"):
        default_sides(study)
    first, *_ = decide(study, "size=8", "size=16", executor, bearable=0.01)
    assert first.judgement is None
    assert sorted(recipe.lr for recipe in first.next_runs) == list(RATES)
    assert {recipe.seed for recipe in first.next_runs} == {0}
    assert first.seconds > 5 * 1.1, "five runs, each more costly than the 1.1 s at 8 px"
    assert default_sides(Study.open(study.path)) == ("size=8", "size=16")


def test_too_few_configurations_train_nothing(store_path, tmp_path):
    executor = MadeUp(noise=0.1)
    axes = [Axis("size", (8, 16)), Axis("lr", RATES[:4])]
    base = Recipe(width=1.0, epochs=1, batch_size=8)
    study = Study.plan(tmp_path / "study", open_store(store_path), base, axes)
    study.finish(executor)
    before = len(executor.trained)
    (look,) = decide(study, "size=8", "size=16", executor, bearable=0.0)
    assert look.judgement.verdict.few
    assert not look.lacking
    assert len(executor.trained) == before


def test_the_budget_ends_it(store_path, tmp_path):
    executor = MadeUp(noise=0.1)
    study = planned(store_path, tmp_path / "study", executor)
    looks = list(decide(study, "size=8", "size=16", executor, bearable=0.0, at_most=3))
    assert looks[-1].added <= 3
    assert not looks[-1].next_runs


def test_a_budget_below_what_the_target_lacks_ends_in_an_answer(store_path, tmp_path):
    executor = MadeUp()
    study = planned(store_path, tmp_path / "study", executor, sizes=(8,), seeds=2)
    looks = list(decide(study, "size=8", "size=16", executor, bearable=0.01, at_most=3))
    assert [look.added for look in looks] == [0, 3]
    assert looks[-1].judgement.verdict.configurations == 3
    with pytest.raises(StudyError, match=r"no run of .* has these values"):
        next(decide(study, "size=8", "size=32", executor, at_most=0))


def test_looks_of_all_calls_and_the_first_limit_stay(store_path, tmp_path):
    executor = MadeUp(noise=0.05)
    study = planned(store_path, tmp_path / "study", executor)
    next(decide(study, "size=8", "size=16", executor))
    assert not (study.path / "decide.json").exists(), "one look writes nothing"
    list(decide(study, "size=8", "size=16", executor, at_most=2))
    list(decide(Study.open(study.path), "size=8", "size=16", executor, at_most=2))
    looks = json.loads((study.path / "decide.json").read_text())["looks"]
    assert len(looks) >= 2
    assert len({look["bearable_points"] for look in looks}) == 1
    (study.path / "decide.json").write_text("{}")
    with pytest.raises(StudyError, match="is damaged"):
        next(decide(study, "size=8", "size=16", executor))


def test_runs_of_a_folder_are_judged_by_any_field(store_path, tmp_path):
    executor = MadeUp()
    planned(store_path, tmp_path / "study", executor, seeds=2)
    table = of_runs(tmp_path / "study")
    assert {"size", "lr", "epochs"} < set(table.columns)
    found = judge_table(table, "size=8", "size=16", bearable=0.01)
    assert found.verdict.configurations == 5
    assert found.verdict.seeds == (2, 2)
    with pytest.raises(StudyError, match=r"no run of .* has these values"):
        judge_table(table, "size=8", "size=64")
