"""The numbers of one report, held as they are: moving code must not move a figure.

`python tests/report/test_golden.py` writes the golden file anew, after a change that is meant.
"""

import json
import math
import sys
from pathlib import Path

import lowres

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_runs import write_study

GOLDEN = Path(__file__).with_name("golden_report.json")


def numbers(value, path=""):
    """Flatten the numbers, booleans and nulls of JSON values; sentences may be worded anew."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from numbers(each, f"{path}/{key}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from numbers(each, f"{path}/{place}")
    elif not isinstance(value, str):
        yield path, value


def made(folder: Path) -> dict:
    write_study(folder, filters=("box", "lanczos"), epochs=2)
    lowres.write_report(folder, ("json",))
    record = json.loads((folder / "report.json").read_text())
    record["runs"] = record["runs"][:3]  # a run's own record has tests of its own
    return dict(numbers(record))


def test_report_has_its_golden_numbers(tmp_path):
    found, golden = made(tmp_path / "study"), json.loads(GOLDEN.read_text())
    assert found.keys() == golden.keys()
    for path, value in golden.items():
        if isinstance(value, float):
            assert math.isclose(found[path], value, rel_tol=1e-6, abs_tol=1e-9), path
        else:
            assert found[path] == value, path


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        golden = made(Path(scratch) / "study")
    GOLDEN.write_text(json.dumps(golden, indent=0) + "\n")
