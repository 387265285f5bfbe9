"""The statistics need SciPy, and say so where it is missing."""

import subprocess
import sys

from lowres import statistics

WITHOUT_SCIPY = """
import sys

class Missing:
    def find_spec(name, path=None, target=None):
        if name == "scipy":
            raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

sys.meta_path.insert(0, Missing)
import lowres.statistics
"""


def test_without_scipy_the_extra_is_named():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SCIPY], capture_output=True, text=True, check=False
    )
    assert "scipy.special, which is not installed; run: pip install " in run.stderr
    assert "[study]'" in run.stderr


def test_verdict_and_report_are_imported_without_scipy_stats():
    """It takes a second and 50 MB; scipy.special has the quantiles."""
    code = "import sys, lowres.study.judging, lowres.report.page; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "scipy.special" in run.stdout.split()
    assert "scipy.stats" not in run.stdout.split()


def test_public_names_are_sorted_and_there():
    assert sorted(set(statistics.__all__)) == list(statistics.__all__)
    for name in statistics.__all__:
        assert callable(getattr(statistics, name))
