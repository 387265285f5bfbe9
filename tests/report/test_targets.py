import json
import re

import pytest

import lowres
from lowres.errors import StudyError
from lowres.report.targets import times_to_error
from made_runs import write_study


def test_the_first_epoch_of_every_run_that_reaches_an_error(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8, 16), seeds=2)
    runs = [path.parent for path in study.rglob("metrics.jsonl")]
    finals = [json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]) for run in runs]
    error = sorted(one["top1_error"] for one in finals if one["top1_error"] is not None)[5]
    found = times_to_error(study, error)
    assert sum(one.runs for one in found) == len(runs)
    reached = [
        any(
            (json.loads(line)["top1_error"] or 1) <= error
            for line in (run / "metrics.jsonl").read_text().splitlines()
        )
        for run in runs
    ]
    assert sum(one.reached for one in found) == sum(reached) > 0
    known = [one.seconds.value for one in found if one.seconds.value is not None]
    assert known == sorted(known)
    assert all((one.epochs.value is not None) == (one.reached == one.runs) for one in found)


def test_an_error_that_is_no_share(tmp_path):
    write_study(tmp_path / "study", sizes=(8,), seeds=1)
    with pytest.raises(StudyError, match="must be a share from 0 to 1, was 40"):
        times_to_error(tmp_path / "study", 40)


def test_the_page_says_how_soon_each_configuration_reaches_the_error(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8, 16), widths=(1.0,), epochs=4)
    page, markdown, numbers = lowres.write_report(study, ("html", "md", "json"), reach=0.70).files
    text = page.read_text()
    [section] = re.findall(r'<section id="reach">.*?</section>', text, re.DOTALL)
    assert "<h2>Time to an error of 70 %</h2>" in section
    assert '<a href="#reach">' in text
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", section)
    found = times_to_error(study, 0.70)
    assert [row.split("</td><td>")[0] for row in rows] == [one.configuration for one in found]
    first, cells = found[0], rows[0].split("</td><td>")
    assert cells[1] == f"{first.reached} of {first.runs}" == "2 of 2"
    assert cells[2].split()[0] == f"{first.epochs.value:.1f}"
    assert cells[3].split()[0] == f"{first.seconds.value:.1f}"
    never = [row for row, one in zip(rows, found, strict=True) if one.reached == 0]
    assert never
    assert all("0 of 2</td><td>\N{EN DASH}" in row for row in never)
    assert "## Time to an error of 70 %" in markdown.read_text()
    assert json.loads(numbers.read_text())["targets"][0]["reached"] == 2


def test_without_an_error_the_page_has_no_such_section(tmp_path):
    study = write_study(tmp_path / "study", sizes=(8,), seeds=1)
    assert 'id="reach"' not in lowres.write_report(study, ("html",)).files[0].read_text()
