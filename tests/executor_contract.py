"""The contract of executors: a test class inherits it and makes the executor."""

import os
import sys
import time
from pathlib import Path

from lowres.work.executor import Executor, Job


def python(folder: Path, name: str, code: str) -> Job:
    return Job(name, (sys.executable, "-c", code), folder / f"{name}.log")


class ExecutorContract:
    """Subclass with a fixture `executor` that runs at least two jobs at a time."""

    def test_every_job_is_run_once(self, executor: Executor, tmp_path):
        jobs = [python(tmp_path, f"p{n}", f"print({n})") for n in range(5)]
        results = list(executor.finish(jobs))
        assert {result.job for result in results} == set(jobs)
        assert all(result.exit_status == 0 for result in results)
        for n, job in enumerate(jobs):
            assert job.log.read_text() == f"{n}\n"

    def test_failures_are_results_and_stop_nothing(self, executor: Executor, tmp_path):
        jobs = [
            python(tmp_path, "bad", "raise SystemExit(3)"),
            python(tmp_path, "killed", "import os; os.kill(os.getpid(), 9)"),
            python(tmp_path, "good", "print('done')"),
        ]
        statuses = {one.job.name: one.exit_status for one in executor.finish(jobs)}
        assert statuses == {"bad": 3, "killed": -9, "good": 0}

    def test_no_jobs_no_results(self, executor: Executor):
        assert list(executor.finish([])) == []

    def test_stopping_early_leaves_nothing_running(self, executor: Executor, tmp_path):
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        sleeper = python(tmp_path, "sleeper", code)
        results = executor.finish([python(tmp_path, "quick", ""), sleeper])
        next(iter(results))
        while not (sleeper.log.exists() and sleeper.log.read_text()):
            time.sleep(0.01)
        results.close()
        process = int(sleeper.log.read_text())
        assert not _alive(process)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
