"""The numbers of a report, on runs with known answers."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.report.analysis import NOTHING, analyse
from lowres.report.reading import Row, label, read_rows, swept_fields
from lowres.report.tables import carried_table
from lowres.text import without_folders
from lowres.training.run import RunState
from made_runs import fail_run, write_run, write_study


def row(variant, lr, error, *, seed=0, width=2.0, seconds=1.0, macs=1000):
    recipe = Recipe(variant=variant, lr=lr, seed=seed, width=width)
    result = {"top1_error": error, "train_s": seconds, "train_macs": macs}
    state = RunState.DIVERGED if error is None else RunState.TRAINED
    errors = np.array([error, error], np.float64)
    epochs = {"train_s": np.full(2, seconds / 2), "top1_error": errors}
    return Row(f"{variant}-{lr}-{seed}", recipe, state, result=result, epochs=epochs)


def grid(proxy_errors, target_errors):
    rows = [row("16-box", 0.1 * n, e, seconds=1.0) for n, e in enumerate(proxy_errors, 1)]
    return rows + [row("32-box", 0.1 * n, e, seconds=4.0) for n, e in enumerate(target_errors, 1)]


def test_equal_ranks():
    (pair,) = analyse(grid([0.5, 0.4, 0.3, 0.2, 0.1], [0.9, 0.8, 0.7, 0.6, 0.5])).pairs
    assert (pair.verdict.proxy, pair.verdict.target) == ("16-box", "32-box")
    assert pair.kendall.value == pytest.approx(1)
    assert pair.verdict.shortlists[0].observed == 0
    assert pair.verdict.answer == "stands in"
    # Five runs on the target against five on the proxy and one of its choice; all cost the same.
    assert pair.saving == pytest.approx(5 / 6)


def test_ranks_that_mislead():
    (pair,) = analyse(grid([0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.3, 0.2, 0.4, 0.45])).pairs
    # Of ten pairs, (2,3) (1,2) (1,3) (1,4) (1,5) disagree: tau = (5 - 5) / 10.
    assert pair.kendall.value == pytest.approx(0)
    assert pair.verdict.shortlists[0].observed == pytest.approx(0.3)
    assert pair.verdict.answer == "does not stand in"
    assert pair.saving is None


def test_what_is_bearable_decides():
    rows = grid([0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.3, 0.2, 0.4, 0.45])
    (pair,) = analyse(rows, bearable=0.5).pairs
    assert pair.verdict.bearable == 0.5
    assert pair.verdict.answer == "stands in"
    assert "within 50 points" in pair.sentence


def test_an_open_pair_names_the_runs_that_decide_it_and_their_price():
    rows = grid([0.5, 0.45, 0.47], [0.41, 0.42, 0.40])
    rows += [replace(one, recipe=replace(one.recipe, width=4.0)) for one in rows]
    found = analyse(rows, study="my study")
    sentences = [pair.sentence for pair in found.pairs if not pair.verdict.sure]
    command = "lowres decide 'my study' --proxy size=16 --target size=32"
    assert any(f"Next: 2 runs, about 8 s: {command}" in one for one in sentences)
    filters = [replace(one, recipe=replace(one.recipe, variant="16-lanczos")) for one in rows[:2]]
    several = analyse([*rows, *filters], study="s").pairs
    assert any("--proxy size=16,filter=box" in pair.sentence for pair in several)
    alone = [pair for pair in analyse(rows).pairs if not pair.verdict.sure and not pair.too_few]
    assert alone
    assert all("--seeds 2" in pair.sentence for pair in alone)


def test_widths_are_decided_within_their_variant():
    errors = {1.0: (0.50, 0.49, 0.48, 0.49, 0.50), 4.0: (0.42, 0.43, 0.44, 0.42, 0.43)}
    rows = [row("16-box", 0.1 * (n + 1), error, width=width)
            for width, of in errors.items() for n, error in enumerate(of)]  # fmt: skip
    (pair,) = analyse(rows, study="s").pairs
    assert not pair.verdict.sure
    assert "--proxy size=16,width=1 --target size=16,width=4" in pair.sentence


def test_what_carries_over_is_a_row_for_each_pair_and_field(tmp_path):
    found = analyse(read_rows(write_study(tmp_path))[0])
    table = carried_table(found)
    assert table.headings[2:5] == ("field", "proxy's best", "answer")
    of_sizes = [one for one in table.rows if one[:2] == ("8-box", "32-box")]
    assert [(one[2], one[4]) for one in of_sizes] == [("width", "stands in"), ("lr", "stands in")]
    assert found.law.sizes == (8, 16, 32)
    assert any("64 px" in sentence for sentence in found.main_sentences)


def test_a_diverged_seed_ranks_its_configuration_last():
    rows = [row("16-box", 0.1, 0.2), row("16-box", 0.1, 0.4, seed=1)]
    rows += [row("16-box", 0.2, None), row("16-box", 0.2, 0.1, seed=1)]
    rows += [row("32-box", r.recipe.lr, 0.5, seed=r.recipe.seed) for r in rows]
    (pair,) = analyse(rows).pairs
    assert pair.proxy_errors == (pytest.approx(0.3), math.inf)
    assert pair.verdict.seeds == (2, 2)
    assert pair.configurations == ("lr 0.1", "lr 0.2")


def test_only_sizes_of_one_filter_are_compared():
    rows = [
        row(v, lr, lr) for v in ("16-box", "16-lanczos", "32-lanczos") for lr in (0.1, 0.2, 0.3)
    ]
    pairs = analyse(rows).pairs
    assert [(p.verdict.proxy, p.verdict.target) for p in pairs] == [("16-lanczos", "32-lanczos")]


def test_the_largest_target_comes_first_and_widths_are_compared_within_a_size():
    rows = [
        row(f"{size}-box", lr, lr + 1 / size, width=width)
        for size in (8, 16, 32)
        for width in (1.0, 2.0)
        for lr in (0.1, 0.2, 0.3)
    ]
    found = analyse(rows)
    names = [(p.verdict.proxy, p.verdict.target) for p in found.pairs if p.kind == "size"]
    assert names == [("16-box", "32-box"), ("8-box", "32-box"), ("8-box", "16-box")]
    widths = [p for p in found.pairs if p.kind == "width"]
    assert widths[0].verdict.proxy == "32-box width 1"
    assert widths[0].configurations == ("lr 0.1", "lr 0.2", "lr 0.3")
    of_sizes = [pair.sentence for pair in found.pairs if pair.kind == "size"]
    assert found.main_sentences[:2] == of_sizes[:2]
    assert found.other_sentences[0] == of_sizes[2]


def test_an_unfinished_larger_size_does_not_hide_the_verdict():
    rows = grid([0.5, 0.4, 0.3], [0.9, 0.8, 0.7])
    rows.append(Row("p", Recipe(variant="64-box")))
    (sentence, *_) = analyse(rows).main_sentences
    assert "16-box" in sentence
    assert "so few that little is known" in sentence


def test_the_optimum_and_its_shift(tmp_path):
    found = analyse(read_rows(write_study(tmp_path, sizes=(8, 16), seeds=3))[0])
    # made_runs puts the best learning rate at 0.05 + 0.001 x size.
    for curve in found.responses:
        true = 0.05 + 0.001 * int(curve.variant.partition("-")[0])
        assert curve.optimum.interval.low / 1.3 < true < curve.optimum.interval.high * 1.3
    assert {(move.first, move.second) for move in found.shifts} == {("8-box", "16-box")}
    (sentence,) = (s for s in found.main_sentences if s.startswith("Best learning rate"))
    assert "from 8-box to 16-box" in sentence
    assert "in 2 of 2 settings" in sentence


def test_an_optimum_at_the_edge_is_flagged():
    rows = [row("16-box", lr, 1 - lr) for lr in (0.1, 0.2, 0.3)]
    (curve,) = analyse(rows).responses
    assert curve.optimum.at_edge


def test_filters(tmp_path):
    filters = ("nearest", "box", "bilinear", "lanczos")
    folder = write_study(tmp_path, sizes=(8,), filters=filters, widths=(1.0,), seeds=3)
    (found,) = analyse(read_rows(folder)[0]).filters
    start = "Filters at 8 px: nearest is worse than the mean of the other 3 by "
    assert found.sentence.startswith(start)
    assert re.search(r"by \d\.\d \xb1 \d\.\d points \(", found.sentence)
    assert found.sentence.endswith(", 95 % for all 4 at once)")
    assert len(found.comparison.differences) == 6


def test_values_of_another_field_in_words_are_compared_over_all_sizes():
    rows = []
    for size in (16, 32):
        for lr in (0.1, 0.2):
            for flip, more in (("none", 0.05), ("both", 0.0)):
                for seed in (0, 1):
                    error = lr + more + 0.01 * seed * (more > 0)
                    made = row(f"{size}-box", lr, error, seed=seed)
                    rows.append(replace(made, recipe=replace(made.recipe, flip=flip)))
    (found,) = analyse(rows).filters
    assert found.title == "Flip"
    assert (found.comparison.blocks, found.comparison.configurations) == (8, 4)
    words = r"Flip: none is worse than both by 5.5 \xb1 0.\d points \(8 runs of each, 4 config"
    assert re.match(words, found.sentence), found.sentence
    same = [replace(each, result=each.result | {"top1_error": 0.3}) for each in rows]
    (nothing,) = analyse(same).filters
    assert "no difference is sure" in nothing.sentence


def test_cost_front_and_anytime():
    rows = grid([0.5, 0.4], [0.4, 0.2])
    found = analyse(rows)
    front = {cost.label for cost in found.costs if "seconds" in cost.on_front}
    assert front == {"16-box, lr 0.2", "32-box, lr 0.2"}
    (small, large) = (c for c in found.anytime if c.unit == "seconds")
    assert small.costs[-1] == pytest.approx(2.0)
    assert (small.median[-1], large.median[-1]) == (0.4, 0.2)
    assert small.median[0] in (0.4, pytest.approx(0.45), 0.5)
    spent = {each.variant: each for each in found.spent}
    assert spent["32-box"].seconds == 8.0
    assert spent["32-box"].best == "32-box, lr 0.2"


def test_what_an_older_lowres_did_not_keep_is_not_needed(tmp_path):
    gone = dict.fromkeys(
        ("train_macs", "macs", "network", "hardware", "versions", "precision", "images_per_s"),
        "gone",
    )
    for size in (8, 16):
        for lr in (0.1, 0.2, 0.3):
            write_run(tmp_path, Recipe(variant=f"{size}-box", lr=lr, epochs=2), lr, **gone)
    found = analyse(read_rows(tmp_path)[0])
    assert found.pairs[0].saving is None
    assert {curve.unit for curve in found.anytime} == {"seconds"}
    assert found.costs[0].flops is None


def test_fields_in_words(tmp_path):
    rows = [
        row("16-box", lr, lr, width=w, seed=s) for lr in (0.2, 0.1) for w in (1, 2) for s in (0, 1)
    ]
    assert swept_fields(rows) == ("width", "lr", "seed")
    assert label(Recipe(lr_drop=0.1), ("variant", "lr_drop")) == "32-box, lr drop 0.1"
    assert label(Recipe(), ("lr_drop_at",)) == "lr drop at 0.25+0.5+0.75"


def test_statuses_and_reasons(tmp_path):
    write_run(tmp_path, Recipe(lr=1.0), None)
    fail_run(tmp_path / "broken", Recipe(lr=2.0), "disk full")
    rows = {row.state: row for row in read_rows(tmp_path)[0]}
    assert rows["failed"].reason == "OSError: disk full"
    assert "from step 7 on" in rows["diverged"].reason
    assert analyse(list(rows.values())).main_sentences == [NOTHING]


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(StudyError, match="holds no runs"):
        read_rows(tmp_path)


def test_learning_curves_are_of_the_best_configuration_of_each_variant(tmp_path):
    for size in (8, 16):
        for lr, error in ((0.1, 0.5), (0.2, 0.4)):
            for seed in (0, 1):
                recipe = Recipe(variant=f"{size}-box", lr=lr, epochs=8, seed=seed)
                write_run(tmp_path, recipe, error - 0.01 * size + 0.02 * seed)
    first, second = analyse(read_rows(tmp_path)[0]).learning_curves
    assert [first.label, second.label] == ["16-box, lr 0.2", "8-box, lr 0.2"]
    # made_runs halves the distance to the end with each epoch; the last one is the end.
    end = 0.4 - 0.16 + 0.01
    assert first.errors == pytest.approx([end + (1 - end) * 0.5**n for n in range(1, 8)] + [end])
    assert first.quarters == pytest.approx([first.errors[n] for n in (1, 3, 5, 7)])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_short_trainings_have_no_quarters(tmp_path, epochs):
    write_run(tmp_path, Recipe(epochs=epochs), 0.5)
    curves = analyse(read_rows(tmp_path)[0]).learning_curves
    assert [len(curve.errors) for curve in curves] == [epochs] * (epochs > 1)
    assert all(curve.quarters == () for curve in curves)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("store /home/me/data/store does not exist", "store …/store does not exist"),
        ("No space left on device: '/mnt/a b/c/d.npy'", "No space left on device: '…/d.npy'"),
        ("see ~/runs/one/train.log, /tmp/x", "see …/train.log, …/x"),
        ("and/or 1/2, https://example.org/a/b", "and/or 1/2, https://example.org/a/b"),
        ("https://example.org/a 'b' /c/d", "https://example.org/a 'b' …/d"),
    ],
)
def test_folders_of_the_machine_are_left_out(text, shown):
    assert without_folders(text) == shown


def three_sizes(*, misled=False, missing=()):
    """Return runs of nine rates at 8, 16 and 32 px; operations rise fourfold from size to size."""
    rows = []
    for step, size in enumerate((8, 16, 32)):
        for place in range(9):
            rank = 8 - place if misled and size == 8 else place
            if (size, place) not in missing:
                error = 0.2 + 0.03 * rank
                rows.append(row(f"{size}-box", 0.01 * (place + 1), error, macs=4**step))
    return rows


def test_halving_over_the_sizes_of_a_study():
    found = analyse(three_sizes())
    halved = found.halved
    assert (halved.sizes, halved.halving.runs) == ((8, 16, 32), (9, 3, 1))
    # 9 runs at a cost of 1, 3 of 4 and 1 of 16, against 9 of 16.
    assert halved.halving.paid == pytest.approx((9 + 3 * 4 + 16) / (9 * 16))
    assert halved.halving.expected == pytest.approx(0, abs=0.002)
    assert halved.sentence in found.main_sentences
    assert halved.sentence.startswith(
        "Successive halving over 8, 16, 32 px, one in 3 kept, would have made 9 + 3 + 1 runs of "
        "one seed, 0.26 of the cost of all on the target, and lost 0.0 points on average"
    )


def test_halving_that_begins_with_a_size_that_misleads_loses_much():
    # At 8 px the three worst are kept, of which the best is 0.18 above the optimum.
    assert analyse(three_sizes(misled=True)).halved.halving.expected > 0.15


def test_a_size_that_lacks_configurations_is_no_rung():
    halved = analyse(three_sizes(missing=[(16, 4)])).halved
    assert halved.sizes == (8, 32)


def test_too_few_configurations_or_unknown_operations():
    few = [one for one in three_sizes() if one.recipe.lr < 0.035]
    assert analyse(few).halved is None
    for one in (rows := three_sizes()):
        del one.result["train_macs"]
    assert analyse(rows).halved.halving.paid is None
