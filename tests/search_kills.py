"""Kills a search at random moments, again and again: a program that `test_search.py` runs.

Nothing is trained: an executor writes results by a formula, so that a search takes no time. Each
start is a child process that kills itself before its n-th operation on a file.
"""

import json
import math
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import lowres
from lowres.recipe import Recipe
from lowres.study.search.plan import SearchPlan, macs_on_store
from lowres.study.search.search import Search
from lowres.training.run import Run
from lowres.work.executor import Result

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.symlink"}
BASE = Recipe(stages="to-8px", variant="16-box", width=0.5, blocks=1, epochs=1, batch_size=8)
TEST_IS_HARDER = 0.03
SPACE = ("lr=log:0.001:1", "width=0.5,1")


class Formula:
    """An executor whose runs have an error that depends on rate, width and size; or that fail.

    Args:
        failing: returns whether the run of a recipe fails.
        diverging: returns whether it diverges.
        count: file that gets a line for each run that ends.
    """

    def __init__(self, failing=lambda _: False, diverging=lambda _: False, count=None):
        self.failing, self.diverging, self.count = failing, diverging, count
        self.done, self.waves = [], []

    def finish(self, jobs):
        self.waves.append(len(jobs))
        for job in jobs:
            run = Run.open(job.log.parent)
            self.done.append(run.path.name)
            if self.failing(run.recipe):
                yield Result(job, -9)
                continue
            diverged, store = self.diverging(run.recipe), run.open_store()
            final = error(run.recipe) + TEST_IS_HARDER
            on_test = run.recipe.final_split(store.splits) and not diverged
            run.finish({
                "status": "diverged" if diverged else "trained",
                "top1_error": None if diverged else error(run.recipe),
                "epochs": 1,
                "train_s": 1.0,
                "train_macs": macs_on_store(run.recipe, store),
                **({"test_top1_error": final} if on_test else {}),
            })  # fmt: skip
            if self.count:
                os.write(self.count, f"{run.path.name}\n".encode())
            yield Result(job, 0)


def error(recipe: Recipe) -> float:
    known = 0.1 + 0.1 * abs(math.log10(recipe.lr / 0.05)) + 0.1 / recipe.width
    return known - recipe.size / 1000 + recipe.seed / 100


def plan(**others) -> SearchPlan:
    settings = {"budget": 8.0, "space": SPACE, "sizes": (8, 16), **others}
    return SearchPlan(base=BASE, **settings)


def kill_before(last: int, folder: Path) -> None:
    left = last

    def audit(event, arguments):
        nonlocal left
        if event in EVENTS and str(folder) in f"{arguments[0]}":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    os.fsync = lambda _: None  # for speed: the machine stays up


def search_and_confirm(folder: Path, store: lowres.Store, executor: Formula) -> dict:
    search = Search.start(folder, store, plan())
    search.finish(executor, 2)
    return search.confirm(executor, 3)


def start(folder: Path, store: lowres.Store, last: int) -> bool:
    """Search in a child that is killed before an operation; return whether it finished."""
    child = os.fork()
    if not child:
        kill_before(last, folder)
        count = os.open(folder.with_name("done"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            search_and_confirm(folder, store, Formula(count=count))
        except BaseException as error:  # noqa: BLE001  the child must end here
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WIFSIGNALED(status), "the search failed"
    return status == 0


def main(store: lowres.Store, folder: Path, searches: int) -> None:
    draw = random.Random(0)
    expected = search_and_confirm(folder / "expected", store, Formula())
    killed = 0
    for _ in range(searches):
        path = folder / "search"
        shutil.rmtree(path, ignore_errors=True)
        path.with_name("done").write_bytes(b"")
        while not start(path, store, int(600 ** draw.random())):
            killed += 1
        assert json.loads((path / "result.json").read_text()) == expected
        done = path.with_name("done").read_text().split()
        assert len(done) == len(set(done)), "nothing is trained twice"
        check_journal(path, expected)
    assert killed > searches


def check_journal(path: Path, expected: dict) -> None:
    """Each trial is created once, and gets its result once."""
    lines = [json.loads(line) for line in (path / "journal.log").read_text().splitlines()]
    created = [line for line in lines if line["op_code"] == 4]
    ended = [line["trial_id"] for line in lines if line["op_code"] == 6]
    assert len(created) == len(expected["trace"])
    assert sorted(ended) == list(range(len(created)))


if __name__ == "__main__":
    main(lowres.open_store(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
