import json

import pytest

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
