"""Verbs whose source, store or run directory is removed before or while they read it.

`test_vanished.py` runs some moments; as a program, this tries many and prints what users read:

    python tests/vanishing.py FOLDER MOMENTS [VERB]
"""

import contextlib
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lowres
from lowres import cli
from lowres.cli import search, studies, verdicts
from lowres.errors import LowresError
from lowres.recipe import Recipe
from lowres.study.axes import Axis
from lowres.study.search.plan import SearchPlan
from lowres.study.study import Study
from lowres.training.run import Run
from lowres.work.executor import Result
from made_runs import MadeUp
from waiting import DEADLINE_S

EVENTS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"}
LEFT = ("*.tmp", "*.lowres-partial")
"""Names of files that no verb may leave."""

BASE = Recipe(variant="8-box", width=0.5, blocks=1, epochs=1, batch_size=8)
TINY = ("--variant", "8-box", "--epochs", "1", "--batch-size", "8", "--device", "cpu", "--width",
        "0.1", "--blocks", "1", "-q")  # fmt: skip
SIDES = ("--proxy", "size=8", "--target", "size=16")

VERBS = {
    "build": ("images", "build", "images", "made", "--size", "8", "-q", "-j", "1"),
    "build, threads": ("images", "build", "images", "made", "--size", "8", "-q", "-j", "4"),
    "build, skipping": ("images", "build", "images", "made", "--size", "8", "-q", "--on-error",
                        "skip"),
    "build, its store": ("made", "build", "images", "made", "--size", "8", "-q", "-j", "1"),
    "build, a tar": ("images.tar", "build", "images.tar", "made", "--size", "8", "-q"),
    "build, a zip": ("images.zip", "build", "images.zip", "made", "--size", "8", "-q"),
    "build, a store": ("store", "build", "store", "made", "--size", "8", "-q"),
    "build --add": ("images", "build", "images", "store", "--size", "12", "--add", "-q"),
    "build --add, its store": ("store", "build", "images", "store", "--size", "12", "--add", "-q"),
    "build --shard": ("images", "build", "images", "made", "--size", "8", "-q", "--shard", "1/2"),
    "bench": ("images", "bench", "build", "images", "--size", "8", "-q", "--rounds", "1",
              "--sample", "4"),
    "info of a source": ("images", "info", "images", "-q"),
    "info of a store": ("store", "info", "store", "-q"),
    "info of a study": ("study", "info", "study", "-q"),
    "info of a search": ("search", "info", "search", "-q"),
    "verify": ("store", "verify", "store", "-q"),
    "verify, against this": ("folder", "verify", "store", "--against", "folder", "--variant",
                             "8-box", "-q"),
    "verify, this against": ("store", "verify", "store", "--against", "folder", "--variant",
                             "8-box", "-q", "--out", "differ.csv"),
    "check": ("store", "check", "store", "-q", "--out", "pairs.csv", "--sheet", "pairs.png"),
    "show": ("store", "show", "store", "--out", "sheet.png"),
    "export to a folder": ("store", "export", "store", "made", "--to", "folder", "--variant",
                           "8-box", "-q"),
    "export to batches": ("store", "export", "store", "made", "--to", "batches", "--variant",
                          "8-box", "-q"),
    "export to parquet": ("store", "export", "store", "made", "--to", "parquet", "--variant",
                          "8-box", "-q"),
    "export to webdataset": ("store", "export", "store", "made", "--to", "webdataset", "--variant",
                             "8-box", "-q"),
    "export to edm": ("store", "export", "store", "made.zip", "--to", "edm", "--variant", "8-box",
                      "-q"),
    "export, its destination": ("made.lowres-partial", "export", "store", "made", "--to", "folder",
                                "--variant", "8-box", "-q"),
    "export of a study": ("study", "export", "study", "made", "--to", "benchmark", "-q"),
    "publish": ("store", "publish", "store", "me/small", "--variant", "8-box", "--dry-run", "-q"),
    "train": ("store", "train", "store", *TINY, "--out", "trained"),
    "train, its run": ("trained", "train", "store", *TINY, "--out", "trained"),
    "train a run": ("store", "train", "planned", "-q", "--device", "cpu"),
    "train a run, itself": ("planned", "train", "planned", "-q", "--device", "cpu"),
    "study": ("store", "study", "store", "--axis", "lr=0.1,0.2", *TINY[:-1], "--out", "planned-2",
              "-q"),
    "study, itself": ("planned-2", "study", "store", "--axis", "lr=0.1,0.2", *TINY[:-1], "--out",
                      "planned-2", "-q"),
    "study again": ("study", "study", "study", "-q"),
    "search": ("store", "search", "store", "--sizes", "8", "--space", "lr=log:0.001:1", "--budget",
               "2", "--out", "planned-3", "-q", *TINY[2:-1]),
    "search again": ("search", "search", "search", "-q"),
    "decide": ("study", "decide", "study", *SIDES, "-q", "--at-most", "2"),
    "decide, a dry run": ("study", "decide", "study", *SIDES, "-q", "--dry-run"),
    "status": ("study", "status", "study"),
    "status as JSON": ("study", "status", "study", "--json"),
    "report": ("study", "report", "study", "--format", "html,md,csv,json,png"),
    "report, its runs": ("study/runs", "report", "study"),
    "judge": ("study", "judge", "study", *SIDES),
    "judge a table": ("table.csv", "judge", "table.csv", *SIDES),
}  # fmt: skip
"""What vanishes, and the command."""


class Calm(MadeUp):
    """An executor whose jobs fail as processes do: with an exit status."""

    def finish(self, jobs):
        for job in jobs:
            try:
                yield from list(super().finish([job]))
            except (LowresError, OSError):
                yield Result(job, 1)


def make_whole(here: Path, source: Path, store: Path) -> None:
    """Make everything that the verbs read, in a folder."""
    here.mkdir(exist_ok=True)
    shutil.copytree(source, here / "images")
    shutil.make_archive(str(here / "images"), "tar", here / "images")
    shutil.make_archive(str(here / "images"), "zip", here / "images")
    shutil.copytree(store, here / "store")
    with contextlib.chdir(here):
        opened = lowres.open_store("store")
        lowres.export(opened, Path("folder"), "8-box", to="folder")
        axes = (Axis("size", (8, 16)), Axis("lr", (0.01, 0.03, 0.1)), Axis("seed", (0, 1)))
        Study.plan(Path("study"), opened, BASE, axes).finish(MadeUp())
        plan = SearchPlan(base=BASE, space=("lr=0.01,0.03,0.1",), sizes=(8, 16), budget=4)
        lowres.Search.start(Path("search"), opened, plan).finish(MadeUp(), 1)
        Path("search/result.json").unlink()
        Run.plan(Path("planned"), BASE, opened)
        rows = [f"{size},{lr},0.{size}{lr * 9:.0f}" for size in (8, 16) for lr in (0.1, 0.2, 0.3)]
        Path("table.csv").write_text("\n".join(["size,lr,error", *rows, ""]))


class Remover:
    """Removes a path before the n-th operation on it; an audit hook cannot be taken back."""

    def __init__(self) -> None:
        self.path, self.at, self.count, self.act = "", 0, 0, remove
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.path or event not in EVENTS or not isinstance(arguments[0], str | bytes | Path):
            return
        if os.fsdecode(os.path.abspath(os.fsdecode(arguments[0]))).startswith(self.path):  # noqa: PTH100
            self.count += 1
            if self.count == self.at:
                path, self.path = Path(self.path), ""
                self.act(path)

    def arm(self, path: Path | None, at: int = 0) -> None:
        self.path, self.at, self.count = os.fspath(path.absolute()) if path else "", at, 0


def killed(place: Path, name: str, remover: Remover, at: int) -> bool:
    """Start a verb in a child process that is killed before its n-th operation in a folder.

    Return whether it was killed, and had not ended before.
    """
    child = os.fork()
    if not child:
        remover.act = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        remover.arm(place, at)
        with contextlib.suppress(BaseException), contextlib.chdir(place):
            said(tuple(VERBS[name][1:]))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def said(words: tuple[str, ...]) -> tuple[int, str]:
    """Run a verb; return its exit status and all that it printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            cli.main(words)
        except SystemExit as ended:
            return int(ended.code or 0), text.getvalue()
    raise AssertionError("main returns by SystemExit")


def fault(place: Path, name: str, remover: Remover, at: int) -> tuple[str, str, int]:
    """Do a verb while its source vanishes; return a fault or nothing, its text, and the count.

    `at` 0: it has vanished before. -1: it does not vanish.
    """
    what, *words = VERBS[name]
    target, began = place / what, time.monotonic()
    with contextlib.chdir(place):
        if at == 0:
            remove(target)
        remover.arm(target if at else None, at)
        try:
            status, text = said(tuple(words))
        finally:
            count = remover.count
            remover.arm(None)
        left = [str(p) for pattern in LEFT for p in Path().rglob(pattern)]
    if left:
        return f"it leaves {left}", text, count
    if time.monotonic() - began > DEADLINE_S:
        return "it hangs", text, count
    if "Traceback" in text:
        return "a traceback", text, count
    if status not in (0, 1, 75):
        return f"its status is {status}", text, count
    if status and what.split(".")[0].split("/")[0] not in text:
        return "it does not name what vanished", text, count
    return "", text, count


@contextlib.contextmanager
def placed(whole: Path, folder: Path) -> Iterator[Path]:
    place = folder / "here"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    # Paths in records are absolute.
    for name in ("recipe.json", "study.json", "search.json"):
        for record in place.rglob(name):
            record.write_text(record.read_text().replace(str(whole), str(place)))
    yield place


def quiet(patch: pytest.MonkeyPatch) -> None:
    """Train nothing in other processes, and leave signals alone."""
    patch.setattr(cli.signal, "signal", lambda *_: None)
    make: Callable[..., Calm] = lambda *_: Calm()  # noqa: E731
    for room in (studies, search, verdicts):
        patch.setattr(room, "make_executor", make)


def main(folder: Path, moments: int, chosen: str = "") -> None:
    from images import draw_source
    from lowres.store.build import build
    from lowres.store.options import BuildOptions

    whole = folder / "whole"
    if not whole.exists():
        draw_source(folder / "images")
        options = BuildOptions(size=(8, 16), filter=("box", "lanczos"))
        build(folder / "images", folder / "store", options)
        make_whole(whole, folder / "images", folder / "store")
    remover = Remover()
    with pytest.MonkeyPatch.context() as patch:
        quiet(patch)
        for name in VERBS:
            if chosen and chosen != name:
                continue
            with placed(whole, folder) as place:
                wrong, text, count = fault(place, name, remover, -1)
            print(f"=== {name}: {count} operations; {wrong or 'ok'}", flush=True)  # noqa: T201
            if wrong:
                print(text)  # noqa: T201
            seen = set()
            points = sorted({1 + (count - 1) * n // max(moments - 1, 1) for n in range(moments)})
            for at in (0, *points):
                with placed(whole, folder) as place:
                    try:
                        wrong, text, _ = fault(place, name, remover, at)
                    except BaseException as error:  # noqa: BLE001
                        wrong, text = f"a traceback: {error!r}", ""
                line = f"{wrong and f'[{wrong}] '}{text.strip()[-300:].splitlines()[-1:]}"
                if line not in seen:
                    seen.add(line)
                    print(f"  {at}: {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
