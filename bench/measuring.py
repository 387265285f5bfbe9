"""What `build.py` measures with: workers, rounds in turns, subsets of a corpus, fresh commands.

This process imports neither numpy nor lowres, so that it stays small: the peak memory of a child
counts what its parent held when it started it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Self

ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "BLIS")
}
"""Idle threads of a BLAS spin, and that counts as CPU time."""

NOT_USUAL = frozenset({"PYTHONDONTWRITEBYTECODE"})
"""Variables that users do not set, and that slow the start of Python."""

QUIET = 0.1
"""Cores that may be busy with other work in a round of wall times that counts as undisturbed."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """Give the environment that everything measured runs in."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_USUAL}
    return {**kept, **ONE_THREAD}


class Worker:
    """A process that stays and runs contenders; see `contenders.py`."""

    def __init__(self, python: Path | str) -> None:
        script = Path(__file__).with_name("contenders.py")
        self._process = subprocess.Popen(
            [python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def run(self, contender: str, **arguments: object) -> dict[str, Any]:
        """Run a contender once and give what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"contender": contender, **arguments}), file=self._process.stdin)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{contender} failed: see above")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


Run = Callable[[], dict[str, Any]]


class Turns(NamedTuple):
    """What contenders answered in each round, and what else the machine did meanwhile."""

    answers: dict[str, list[dict[str, Any]]]
    load: float
    others: float

    def each(self, name: str, key: str = "cpu_s") -> list[float]:
        """Give one value a round."""
        return [answer[key] for answer in self.answers[name]]

    def ratios(self, over: str, under: str, key: str = "cpu_s") -> list[float]:
        """Divide two contenders' values of the same round: slow minutes cancel."""
        pairs = zip(self.each(over, key), self.each(under, key), strict=True)
        return [one / other for one, other in pairs]


def in_turns(contenders: Mapping[str, Run], rounds: int, spare: int = 0) -> Turns:
    """Run every contender once a round, each round starting with the next one.

    Args:
        contenders: what to run.
        rounds: how often.
        spare: how many rounds, disturbed by other work, may be thrown away and repeated.
    """
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    load, names, others = os.getloadavg()[0], list(contenders), []
    while len(others) < rounds:
        turn = len(others) % len(names)
        busy, own, began = busy_s(), tree_s(), time.monotonic()
        answer = {name: contenders[name]() for name in names[turn:] + names[:turn]}
        other = (busy_s() - busy - (tree_s() - own)) / (time.monotonic() - began)
        if other > QUIET and spare:
            spare -= 1
            continue
        others.append(max(0.0, other))
        for name in names:
            answers[name].append(answer[name])
    return Turns(answers, load, sum(others) / len(others))


def busy_s() -> float:
    """Give the seconds that all cores were busy since the start, or taken by other machines."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, soft, steal = stat.read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, soft, steal))) / TICKS_PER_S


def tree_s() -> float:
    """Give the CPU seconds of this process and of all it started, running or finished."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        stats[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    found, ticks = {os.getpid()}, 0
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
    for pid in found & stats.keys():
        ticks += stats[pid][1]
    return ticks / TICKS_PER_S


def pillow_python(pillow: str) -> Path:
    """Give a Python that has this version of Pillow; its environment is made once and kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lowres-bench"
    numpy, python_version = version("numpy"), ".".join(map(str, sys.version_info[:2]))
    folder = cache / f"pillow-{pillow}-numpy-{numpy}-python-{python_version}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"making {folder.name} in the cache", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, f"pillow=={pillow}", f"numpy=={numpy}"], check=True)
        ready.touch()
    return python


class Corpus(NamedTuple):
    """Some images of a corpus, in a folder of their own."""

    folder: Path
    images: int
    mean_bytes: float


def images_of(folder: Path) -> list[Path]:
    """List the images of a corpus, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def subset(folder: Path, files: Sequence[Path], count: int, target: Path) -> Corpus:
    """Link `count` images from all over a corpus into a new folder; those given, at most."""
    count = min(count, len(files))
    chosen = [files[number * len(files) // count] for number in range(count)]
    for path in chosen:
        link(path, target / path.relative_to(folder))
    return Corpus(target, count, sum(path.stat().st_size for path in chosen) / count)


def repeated(files: Sequence[Path], count: int, target: Path) -> Corpus:
    """Link images again and again until there are `count` names, a thousand to a class."""
    for number in range(count):
        path = files[number % len(files)]
        link(path, target / "train" / f"{number // 1000:03}" / f"{number:07}{path.suffix}")
    total = sum(files[number % len(files)].stat().st_size for number in range(count))
    return Corpus(target, count, total / count)


def link(path: Path, target: Path) -> None:
    """Link a file, or copy it where that is not allowed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(path.resolve())
    except OSError:
        shutil.copyfile(path, target)


class Command(NamedTuple):
    """What a fresh process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def fresh(*words: object) -> Command:
    """Run a Python in a new process, to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    complaints = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} failed: {complaints}")
    return Command(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
