"""Searches: what they choose, train, promote, report to Optuna, and how they resume."""

import json
import random
import subprocess
import sys
from dataclasses import replace

import optuna
import pytest

import lowres
import search_kills
from lowres.errors import LowresError, RunBusyError, StudyError
from lowres.recipe import Recipe
from lowres.study.search.optuna import Chooser, quiet
from lowres.study.search.plan import SearchPlan, macs_on_store
from lowres.study.search.result import lines
from lowres.study.search.search import Search
from lowres.training import loop
from lowres.training.run import Run
from lowres.work.files import held
from search_kills import BASE, SPACE, TEST_IS_HARDER, Formula, error, plan


def searched(path, store, executor=None, at_a_time=1, **settings):
    return Search.start(path, store, plan(**settings)).finish(executor or Formula(), at_a_time)


def trials(path):
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(path / "journal.log"))
    )
    return optuna.load_study(study_name=None, storage=storage).trials


def test_the_best_are_promoted_and_the_cost_is_counted(store, tmp_path):
    executor = Formula()
    found = searched(tmp_path / "search", store, executor, space=["lr=log:0.001:1"], budget=3)
    small, large = (
        macs_on_store(plan().recipe({"lr": 0.1, "width": 0.5}, r), store) for r in (0, 1)
    )
    first, second = (rung["configurations"] for rung in found["rungs"])
    # 8 px costs 0.18 of 16 px: six would need 6 x 0.18 + 2 = 3.08; five leave room for two.
    assert small / large == pytest.approx(0.18, abs=0.001)
    assert (first, second) == (5, 2)
    errors = {one["configuration"]: one["rungs"][0]["error"] for one in found["trace"]}
    promoted = {one["configuration"] for one in found["trace"] if one["rungs"][0]["promoted"]}
    assert promoted == set(sorted(errors, key=errors.get)[:second])
    best = found["best"]
    assert best["configuration"] == min(errors, key=errors.get)
    recipe = replace(BASE, lr=best["changes"]["lr"])
    assert best["recipe"] == recipe.to_record()
    assert best["top1_error"] == error(recipe)
    assert found["cost"]["train_macs"] == first * small + second * large
    assert found["cost"]["full_size_runs"] == found["cost"]["train_macs"] / large
    assert found["cost"]["train_s"] == first + second == len(executor.done)
    assert found["same_size"]["train_macs"] == first * large
    assert found["same_size"]["train_s"] == pytest.approx(first)
    assert (tmp_path / "search" / "runs" / best["run"] / "result.json").exists()
    text = "\n".join(lines(found))
    assert f"best at 16 px: top-1 error {100 * best['top1_error']:.2f} %" in text
    times = first * large / (first * small + second * large)
    work, time = text.splitlines()[-2:]
    assert work.startswith("multiply-adds of training: ")
    assert work.endswith(f", {times:.1f} times as many")
    assert time == "time of training: 7 s; 5 configurations at 16 px: about 5 s, 0.7 times as long"


@pytest.mark.full
@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random"])
def test_one_seed_one_trace(store, tmp_path, sampler):
    settings = {"sampler": sampler, "budget": 6}
    found = [searched(tmp_path / name, store, **settings) for name in ("a", "b")]
    assert found[0] == found[1]
    assert len(found[0]["trace"]) > 10, "more than tpe and gp choose at random"
    other = searched(tmp_path / "c", store, sampler_seed=1, **settings)
    assert other["trace"][0]["changes"] != found[0]["trace"][0]["changes"]


@pytest.mark.full
def test_samplers_that_learn_do(store, tmp_path):
    def late(sampler):
        found = searched(tmp_path / sampler, store, budget=20, sampler=sampler)
        errors = [one["rungs"][0]["error"] for one in found["trace"]]
        return sum(errors[20:40]) / 20

    assert late("tpe") < late("random")


def test_what_learns_chooses_some_at_a_time_and_the_others_all(store, tmp_path):
    executor = Formula()
    searched(tmp_path / "a", store, executor, at_a_time=4, budget=2.5)
    assert set(executor.waves[:-2]) == {4}
    executor = Formula()
    found = searched(tmp_path / "b", store, executor, at_a_time=4, budget=2.5, sampler="qmc")
    assert executor.waves == [rung["configurations"] for rung in found["rungs"]]


def test_one_size_is_a_plain_search(store, tmp_path):
    found = searched(tmp_path / "search", store, sizes=(16,), budget=5, space=["lr=log:0.01:1"])
    assert [rung["configurations"] for rung in found["rungs"]] == [5]
    assert found["cost"]["train_macs"] == found["same_size"]["train_macs"]
    assert {trial.state.name for trial in trials(tmp_path / "search")} == {"COMPLETE"}
    assert "times as" not in "\n".join(lines(found))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_no_configuration_of_a_small_space_is_chosen_twice(store, tmp_path, sampler):
    space = ["lr=0.01,0.1,0.2", "lr_drop_at=0.5,0.5+0.75"]
    found = searched(tmp_path / "search", store, space=space, budget=99, sampler=sampler)
    assert len({str(one["changes"]) for one in found["trace"]}) == len(found["trace"]) == 6
    assert found["trace"][0]["changes"]["lr_drop_at"] in ([0.5], [0.5, 0.75])


def test_the_budget_holds_where_costs_differ(store, tmp_path):
    """The widest are the best by the formula, and cost most."""
    found = searched(
        tmp_path / "search", store, space=["lr=0.05,0.06,0.07", "width=0.5,2"], budget=3
    )
    assert found["cost"]["full_size_runs"] <= 3


def test_epochs_may_rise_with_the_size(store, tmp_path):
    base = replace(BASE, epochs=9)
    found = SearchPlan(base=base, space=SPACE, sizes=(16, 8), rung_epochs=(5, 2), budget=4.0)
    assert (found.sizes, found.rung_epochs, found.base.epochs) == ((8, 16), (2, 5), 5)
    labels = {"lr": 0.1, "width": 1.0}
    assert [found.recipe(labels, rung).epochs for rung in (0, 1)] == [2, 5]
    assert [found.recipe(labels, rung).variant for rung in (0, 1)] == ["8-box", "16-box"]


def test_diverged_runs_are_the_worst_and_failed_ones_given_up(store, tmp_path):
    executor = Formula(
        failing=lambda recipe: recipe.lr < 0.01 and recipe.size == 8,
        diverging=lambda recipe: recipe.lr > 0.3,
    )
    found = searched(tmp_path / "search", store, executor)
    states = {trial.number: trial.state.name for trial in trials(tmp_path / "search")}
    for one in found["trace"]:
        first = one["rungs"][0]
        expected = "failed" if one["changes"]["lr"] < 0.01 else "trained"
        expected = "diverged" if one["changes"]["lr"] > 0.3 else expected
        assert first["status"] == expected
        assert first["promoted"] <= (expected == "trained")
        assert (states[one["configuration"]] == "FAIL") == (expected == "failed")
    assert found["rungs"][0]["failed"] > 0
    assert found["rungs"][0]["diverged"] > 0
    assert "failed: ProcessEnded: its process was killed by SIGKILL" in "\n".join(lines(found))


def test_what_was_given_up_stays_so_with_fewer_jobs(store, tmp_path):
    """Of the first four only the last works, which one at a time would not find out."""
    chosen = searched(tmp_path / "whole", store, at_a_time=4)["trace"][:3]
    rates = [one["changes"]["lr"] for one in chosen]
    executor = Formula(failing=lambda recipe: recipe.lr in rates)
    found = searched(tmp_path / "search", store, executor, at_a_time=4)
    failed = [one["configuration"] for one in found["trace"] if one["rungs"][0]["error"] is None]
    assert failed == [0, 1, 2]
    (tmp_path / "search" / "result.json").unlink()
    again = Formula()
    assert searched(tmp_path / "search", store, again, at_a_time=1) == found
    assert again.done == []


def test_a_search_in_which_nothing_works_stops_and_may_be_tried_again(store, tmp_path):
    executor = Formula(failing=lambda _: True)
    with pytest.raises(StudyError, match=r"all 3 runs at 8 px failed; the same .* ProcessEnded"):
        searched(tmp_path / "search", store, executor)
    assert searched(tmp_path / "search", store)["rungs"][0]["failed"] == 0
    with pytest.raises(StudyError, match="all 3 runs at 16 px failed"):
        searched(tmp_path / "top", store, Formula(failing=lambda recipe: recipe.size == 16))
    with pytest.raises(StudyError, match="every configuration diverged at 8 px"):
        searched(tmp_path / "steep", store, Formula(diverging=lambda _: True))


def test_all_diverged_at_the_end_leaves_no_best(store, tmp_path):
    found = searched(tmp_path / "search", store, Formula(diverging=lambda r: r.size == 16))
    assert found["best"] is None
    assert "no configuration was trained to its end at 16 px" in "\n".join(lines(found))


@pytest.mark.full
def test_killed_searches_resume_to_the_same_result(store_path, tmp_path):
    command = [sys.executable, search_kills.__file__, str(store_path), str(tmp_path), "2"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_an_interrupt_ends_it_and_the_journal_is_repaired(store, tmp_path):
    class Interrupted(Formula):
        def finish(self, jobs):
            if len(self.done) == 5:
                raise KeyboardInterrupt
            yield from super().finish(jobs)

    path, executor = tmp_path / "search", Interrupted()
    with pytest.raises(KeyboardInterrupt):
        searched(path, store, executor)
    with (path / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "stu')
    (path / "journal.log.lock").symlink_to("journal.log")
    again = Formula()
    found = searched(path, store, again)
    assert not set(executor.done) & set(again.done)
    assert found == searched(tmp_path / "whole", store)
    assert searched(path, store, Formula(failing=lambda _: True)) == found, "nothing is left to do"


def test_a_lost_journal_is_made_again(store, tmp_path):
    found = searched(tmp_path / "search", store)
    before = [(t.params, t.intermediate_values, t.state) for t in trials(tmp_path / "search")]
    for name in ("journal.log", "result.json"):
        (tmp_path / "search" / name).unlink()
    assert searched(tmp_path / "search", store, Formula(failing=lambda _: True)) == found
    after = [(t.params, t.intermediate_values, t.state) for t in trials(tmp_path / "search")]
    assert after == before


def test_the_best_is_confirmed_with_new_seeds_that_cost_further(store, tmp_path):
    path, executor = tmp_path / "search", Formula()
    found = searched(path, store, space=["lr=log:0.001:1"], budget=3)
    search = Search.start(path, store, plan(space=["lr=log:0.001:1"], budget=3))
    confirmed = search.confirm(executor, 3)
    assert confirmed == search.result()
    added = confirmed.pop("confirmation")
    assert confirmed == found
    recipe = Recipe.from_record(found["best"]["recipe"])
    assert [run["seed"] for run in added["runs"]] == [1, 2, 3]
    for run in added["runs"]:
        trained = Run.open(path / "runs" / run["run"])
        assert trained.recipe == replace(recipe, seed=run["seed"])
        assert run["top1_error"] == trained.result()["top1_error"]
    # The formula adds a point for each seed.
    assert added["mean_error"] == pytest.approx(found["best"]["top1_error"] + 0.02)
    assert added["std_error"] == pytest.approx(0.01)
    cost = {"runs": 3, "train_s": 3.0, "train_macs": 3 * macs_on_store(recipe, store)}
    assert added["cost"] == {**cost, "full_size_runs": pytest.approx(3)}
    shown = list(lines(search.result()))
    mean = 100 * found["best"]["top1_error"] + 2
    assert (
        f"best with 3 new seeds: top-1 error {mean:.2f} ± 1.00 % (mean ± standard deviation of 3), "
        "2.00 points more than in the search"
    ) in shown
    assert shown[-2].startswith("further multiply-adds for 3 new seeds, apart from the budget: ")
    assert shown[-2].endswith(", as many as 3.00 runs at 16 px")
    assert shown[-1] == "further time for 3 new seeds: 3 s"


def test_a_store_with_test_reports_the_best_on_test(store_path, tmp_path):
    options = lowres.BuildOptions(filter="box", test_fraction=0.5)
    lowres.build(store_path, tmp_path / "halves", options)
    halves = lowres.open_store(tmp_path / "halves")
    settings = {"space": ["lr=log:0.001:1"], "budget": 3}
    best = searched(tmp_path / "search", halves, **settings)["best"]
    assert best["test_top1_error"] == pytest.approx(best["top1_error"] + TEST_IS_HARDER)
    search = Search.start(tmp_path / "search", halves, plan(**settings))
    executor = Formula(diverging=lambda recipe: recipe.seed == 3)
    confirmed = search.confirm(executor, 3)
    added = confirmed["confirmation"]
    assert ["test_top1_error" in run for run in added["runs"]] == [True, True, False]
    assert added["mean_test_error"] == pytest.approx(added["mean_error"] + TEST_IS_HARDER)
    assert added["std_test_error"] == pytest.approx(added["std_error"])
    assert "test_error" not in confirmed["trace"][0]["rungs"][-1], "nothing is chosen by it"
    shown = "\n".join(lines(search.result()))
    assert f" %, {100 * best['test_top1_error']:.2f} % on test, with lr " in shown
    mean = 100 * added["mean_test_error"]
    assert f"; on test, by which nothing was chosen, {mean:.2f} \N{PLUS-MINUS SIGN} 0.71 %" in shown


def test_more_seeds_later_keep_the_first_and_fewer_train_nothing(store, tmp_path):
    base = replace(BASE, seed=1)
    wanted = SearchPlan(base=base, sizes=(8, 16), space=("lr=0.1,0.2",), budget=2)
    search, executor = Search.start(tmp_path / "search", store, wanted), Formula()
    with pytest.raises(StudyError, match=r"result\.json is missing"):
        search.confirm(executor, 2)
    search.finish(executor, 1)
    first = search.confirm(executor, 2)
    assert [run["seed"] for run in first["confirmation"]["runs"]] == [0, 2]
    again = Formula()
    assert search.confirm(again, 1) == first == search.finish(again, 1)
    assert again.done == []
    more = search.confirm(again, 3)["confirmation"]
    assert more["runs"][:2] == first["confirmation"]["runs"]
    assert again.done == [more["runs"][2]["run"]]
    with pytest.raises(StudyError, match="--confirm must be at least 1, was 0"):
        search.confirm(again, 0)


def test_new_seeds_may_fail_or_diverge(store, tmp_path):
    path, executor = tmp_path / "search", Formula()
    search = Search.start(path, store, plan())
    found = search.finish(executor, 1)
    with pytest.raises(StudyError, match=r"1 of 3 runs with new seeds failed.* --confirm 3\. Proc"):
        search.confirm(Formula(failing=lambda recipe: recipe.seed == 2), 3)
    assert search.result() == found
    confirmed = search.confirm(Formula(diverging=lambda recipe: recipe.seed == 2), 3)
    ends = [run["status"] for run in confirmed["confirmation"]["runs"]]
    assert ends == ["trained", "diverged", "trained"]
    assert "(mean ± standard deviation of 2)" in "\n".join(lines(confirmed))
    assert "; 1 of 3 runs diverged" in "\n".join(lines(confirmed))


def test_without_a_best_nothing_is_confirmed(store, tmp_path):
    search = Search.start(tmp_path / "search", store, plan())
    found = search.finish(Formula(diverging=lambda recipe: recipe.size == 16), 1)
    assert search.confirm(Formula(failing=lambda _: True), 3) == found


def test_optuna_sees_every_configuration(store, tmp_path):
    found = searched(tmp_path / "search", store)
    seen = trials(tmp_path / "search")
    assert [trial.params for trial in seen] == [one["changes"] for one in found["trace"]]
    for trial, one in zip(seen, found["trace"], strict=True):
        assert trial.intermediate_values == {rung["size"]: rung["error"] for rung in one["rungs"]}
        assert trial.state.name == ("COMPLETE" if len(one["rungs"]) == 2 else "PRUNED")
        assert trial.user_attrs["run at 8 px"] == one["rungs"][0]["run"]


def test_another_plan_is_refused_by_name(store, tmp_path):
    path = tmp_path / "search"
    Search.start(path, store, plan())
    for settings, words in [
        ({"budget": 5.0}, "budget was 8.0 and is now 5.0"),
        ({"one_in": 4}, "one_in was 3 and is now 4"),
        ({"sizes": (16,)}, "sizes was 8, 16 and is now 16; rung_epochs was 1, 1 and is now 1"),
        ({"sampler": "qmc"}, "sampler was tpe and is now qmc"),
        ({"space": ["lr=log:0.01:1", "width=0.5,1"]}, "space lr was log:0.001:1 and is now log"),
        ({"space": ["lr=log:0.001:1"]}, "space width was 0.5,1 and is now not set"),
        ({"carry_weights": True}, "carry_weights was False and is now True"),
    ]:
        with pytest.raises(StudyError, match=f"was planned differently: .*{words}"):
            Search.start(path, store, plan(**settings))
    other = replace(plan(), base=replace(plan().base, momentum=0.5))
    with pytest.raises(StudyError, match=r"base momentum was 0\.9 and is now 0\.5"):
        Search.start(path, store, other)
    assert Search.open(path).plan == plan()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sizes": ()}, "a search needs sizes"),
        ({"sizes": (8, 8)}, "--sizes must be different sizes, were 8 8"),
        ({"sizes": (8, 64)}, "has no variant 64-box"),
        ({"sizes": (0, 8)}, "size must be 1 to 1024 pixels, was 0"),
        ({"rung_epochs": (1,)}, "--rung-epochs must be as many numbers as --sizes, 2, were 1"),
        ({"rung_epochs": (0, 1)}, "--rung-epochs must be whole numbers above 0, was 0"),
        ({"budget": 1.0}, "--budget must be at least 1.1"),
        ({"budget": float("nan")}, "--budget must be above 0, was nan"),
        ({"one_in": 0}, "--one-in must be at least 1, was 0"),
        ({"sampler": "grid"}, "--sampler must be one of tpe, gp, qmc, random, was grid"),
        ({"sampler_seed": -1}, "--sampler-seed must be at least 0"),
        ({"sizes": (16,), "carry_weights": True}, "--carry-weights carries from size to size"),
        ({"space": ["lr=lin:-1:1"]}, "which is no recipe: lr must be from 1e-30"),
        ({"space": ["filter=box,bicubic"]}, "has no variant 8-bicubic"),
        ({"space": ["batch_size=8,1000"]}, "fewer than a batch of 1000"),
        ({"space": ["optimizer=momentum,muon", "adam_lr=0.1,0.2"]}, "unless the optimizer is muon"),
    ],
)
def test_plans_that_cannot_be_carried_out(store, tmp_path, settings, words):
    with pytest.raises(LowresError) as refused:
        Search.start(tmp_path / "search", store, plan(**settings))
    assert words in str(refused.value)
    assert not (tmp_path / "search").exists()


def test_other_directories_are_refused(store, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    with pytest.raises(StudyError, match="neither empty nor a search"):
        Search.start(tmp_path / "mine", store, plan())
    with pytest.raises(StudyError, match="must be a directory, but it is a file"):
        Search.start(tmp_path / "mine" / "x", store, plan())
    with pytest.raises(StudyError, match=r"is not a search: it has no search\.json"):
        Search.open(tmp_path / "mine")
    Search.start(tmp_path / "search", store, plan())
    with (
        held(tmp_path / "search" / "search.json"),
        pytest.raises(RunBusyError, match="is being run by another process"),
    ):
        searched(tmp_path / "search", store)
    (tmp_path / "search" / "journal.log").write_text('{"op_code": 4}\n')
    with pytest.raises(StudyError, match=r"journal\.log is damaged"):
        searched(tmp_path / "search", store)
    (tmp_path / "search" / "search.json").write_text("[]")
    with pytest.raises(StudyError, match=r"search\.json is damaged"):
        Search.open(tmp_path / "search")


class InProcess:
    """A toy executor that trains in this process."""

    def finish(self, jobs):
        for job in jobs:
            loop.finish(Run.open(job.log.parent))
            yield search_kills.Result(job, 0)


def test_weights_are_carried_from_size_to_size(store, tmp_path):
    settings = {"space": ["lr=0.01,0.02"], "budget": 1.4, "sampler": "random"}
    carried = searched(tmp_path / "a", store, InProcess(), carry_weights=True, **settings)
    plain = searched(tmp_path / "b", store, InProcess(), **settings)
    names = [one["best"]["run"] for one in (carried, plain)]
    assert carried["best"]["changes"] == plain["best"]["changes"]
    assert names[0] != names[1]
    record = json.loads((tmp_path / "a" / "runs" / names[0] / "recipe.json").read_text())
    best = carried["trace"][carried["best"]["configuration"]]
    assert record["start"]["run"] == best["rungs"][0]["run"]
    assert Run.open(tmp_path / "b" / "runs" / names[1]).warm_start is None
    # A new seed is new at every size.
    found = Search.open(tmp_path / "a").confirm(InProcess(), 1)["confirmation"]
    confirming = Run.open(tmp_path / "a" / "runs" / found["runs"][0]["run"])
    smaller = Run.open(tmp_path / "a" / "runs" / confirming.warm_start.run)
    assert [(run.recipe.size, run.recipe.seed) for run in (smaller, confirming)] == [
        (8, 1),
        (16, 1),
    ]
    assert found["cost"]["runs"] == 2
    macs = [run.result()["train_macs"] for run in (smaller, confirming)]
    assert found["cost"]["train_macs"] == sum(macs)
    assert found["std_error"] is None


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_choices_do_not_depend_on_when_optuna_is_told(sampler):
    """A chooser that saw every step chooses as one that resumes and is told all at once."""
    drawn, errors, failed, chosen = random.Random(1), {}, set(), []
    with quiet() as module:
        searching = plan(space=SPACE, sampler=sampler)
        kept = Chooser(module, searching, 24)
        for number in range(24):  # samplers draw at random up to 10 errors
            resumed = Chooser(module, searching, 24)
            choice = kept.choose(chosen, errors, failed)
            assert choice == resumed.choose(chosen, errors, failed)
            chosen.append(choice)
            if number % 5 == 4:
                failed.add(number)
            elif number % 3:
                errors[number] = drawn.random()
