"""The front along trainings, from runs to page."""

import json
from itertools import pairwise

import lowres
from lowres.report.curves import training_front
from lowres.report.reading import read_rows, swept_fields
from made_runs import write_study


def test_a_row_for_each_range_of_costs_in_which_one_configuration_is_the_best(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0, 2.0), seeds=3, epochs=6)
    rows, _ = read_rows(study)
    stretches = training_front(rows, swept_fields(rows))
    assert {one.unit for one in stretches} == {"seconds", "flops"}
    for unit in ("seconds", "flops"):
        mine = [one for one in stretches if one.unit == unit]
        points = [point for one in mine for point in one.points]
        assert [p.cost for p in points] == sorted(p.cost for p in points)
        assert [p.error for p in points] == sorted((p.error for p in points), reverse=True)
        assert all(a.label != b.label for a, b in pairwise(mine))
        assert (mine[0].variant, mine[-1].variant) == ("8-box", "16-box")
        last = points[-1]
        best = min(rows, key=lambda row: row.error)
        assert last.epoch == 6
        assert last.interval.low < best.error < last.interval.high
    files = lowres.write_report(study, ("html", "md", "json")).files
    page, markdown, numbers = (path.read_text() for path in files)
    assert "Least error along all trainings" in page
    table = markdown.partition("## Least error by a cost, along all trainings")[2]
    lines = table.partition("\n\n##")[0].strip().splitlines()[2:]
    assert len(lines) == sum(one.unit == "flops" for one in stretches)
    assert len(json.loads(numbers)["front"]) == len(stretches)


def test_one_seed_has_a_front_without_intervals(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8,), widths=(1.0,), seeds=1)
    rows, _ = read_rows(study)
    stretches = training_front(rows, swept_fields(rows))
    assert stretches
    assert all(point.interval is None for one in stretches for point in one.points)
    assert "Least error along all trainings" in lowres.write_report(study).files[0].read_text()
