"""The numbers of a report, on rows with known answers."""

import pytest

from lowres.errors import StudyError
from lowres.recipe import Recipe
from lowres.report.tables import (
    Row,
    costs,
    label,
    pareto_front,
    read_rows,
    responses,
    swept_fields,
    transfers,
)


def row(variant, lr, error, *, seed=0, seconds=1.0, width=2.0):
    recipe = Recipe(variant=variant, lr=lr, seed=seed, width=width)
    if error is None:
        return Row("r", recipe, "diverged", {"top1_error": None, "train_s": seconds}, "", [])
    return Row("r", recipe, "trained", {"top1_error": error, "train_s": seconds}, "", [])


def grid(proxy_errors, target_errors):
    rows = [row("16-box", 0.1 * n, e, seconds=1.0) for n, e in enumerate(proxy_errors, 1)]
    return rows + [row("32-box", 0.1 * n, e, seconds=4.0) for n, e in enumerate(target_errors, 1)]


def test_equal_rankings():
    (found,) = transfers(grid([0.5, 0.4, 0.3, 0.2, 0.1], [0.9, 0.8, 0.7, 0.6, 0.5]))
    assert (found.proxy, found.target) == ("16-box", "32-box")
    assert found.kendall == pytest.approx(1)
    assert found.spearman == pytest.approx(1)
    assert found.kendall_p == pytest.approx(2 / 120)
    assert found.regret == 0
    assert found.speed_up == pytest.approx(4)
    assert found.verdict == (
        "16-box for 32-box: Kendall's tau 1.00 over 5 configurations, 1 seed each; its choice "
        "costs 0.0 points of 32-box error, 4.0x less training time."
    )


def test_a_ranking_that_misleads():
    (found,) = transfers(grid([0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.3, 0.2, 0.4, 0.45]))
    # Of ten pairs, (2,3) (1,2) (1,3) (1,4) (1,5) disagree: tau = (5 - 5) / 10.
    assert found.kendall == pytest.approx(0)
    assert found.regret == pytest.approx(0.3)
    assert "(not told from chance)" in found.verdict


def test_too_little_to_tell():
    (found,) = transfers(grid([0.1, 0.2], [0.1, 0.2]))
    assert found.verdict == "16-box for 32-box: cannot tell from 2 configurations, 1 seed each."
    (same,) = transfers(grid([0.2] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    assert same.kendall is None
    assert "cannot tell" in same.verdict


def test_seeds_are_averaged_and_divergence_ranks_last():
    rows = [
        row("16-box", 0.1, 0.2, seed=0),
        row("16-box", 0.1, 0.4, seed=1),
        row("16-box", 0.2, None, seed=0),
        row("16-box", 0.2, 0.3, seed=1),
    ]
    rows += [row("32-box", r.recipe.lr, 0.5, seed=r.recipe.seed) for r in rows]
    (found,) = transfers(rows)
    assert found.proxy_errors == pytest.approx((0.3, 0.65))
    assert found.seeds == 2
    curve = responses(rows)[0]
    assert curve.points[0.1].mean == pytest.approx(0.3)
    assert curve.points[0.2].mean == pytest.approx(0.3), "means leave out diverged runs"
    assert curve.points[0.2].diverged == 1


def test_only_sizes_of_one_filter_are_compared():
    rows = [
        row(v, lr, lr) for v in ("16-box", "16-lanczos", "32-lanczos") for lr in (0.1, 0.2, 0.3)
    ]
    assert [(t.proxy, t.target) for t in transfers(rows)] == [("16-lanczos", "32-lanczos")]


def test_only_configurations_finished_on_both_count():
    rows = grid([0.1, 0.2, 0.3], [0.1, 0.2])
    rows.append(Row("f", Recipe(variant="32-box", lr=0.3), "failed", {}, "why", []))
    (found,) = transfers(rows)
    assert len(found.proxy_errors) == 2


def test_series_are_set_apart_by_every_other_swept_field():
    rows = [
        row("16-box", lr, lr, width=width, seed=seed)
        for lr in (0.2, 0.1)
        for width in (1.0, 2.0)
        for seed in (0, 1)
    ]
    assert swept_fields(rows) == ("width", "lr", "seed")
    found = responses(rows)
    assert [response.label for response in found] == ["16-box, width 1", "16-box, width 2"]
    assert list(found[0].points) == [0.1, 0.2]
    assert label(Recipe(lr_drop=0.1), ("variant", "lr_drop")) == "32-box, lr drop 0.1"


def test_pareto_front():
    points = {"fast": (1, 0.5), "slow": (4, 0.2), "beaten": (4, 0.3), "same": (1, 0.5)}
    assert pareto_front(points) == {"fast", "slow", "same"}
    found = costs(grid([0.5, 0.4], [0.4, 0.2]))
    assert {cost.label for cost in found if cost.on_front} == {
        "16-box, lr 0.2",
        "32-box, lr 0.2",
    }


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(StudyError, match="holds no runs"):
        read_rows(tmp_path)
