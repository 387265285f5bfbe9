"""The verbs of studies: study, status."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from lowres.cli.app import app, out
from lowres.cli.flags import RecipeFields, given_values
from lowres.errors import LowresError, StudyError, require
from lowres.networks.imported import check_named
from lowres.progress import shown
from lowres.recipe import Recipe, RecipeName, named_recipe

if TYPE_CHECKING:
    from lowres.study.axes import Axis, Together
    from lowres.study.plan_file import PlanFile
    from lowres.study.study import Study
    from lowres.work.executor import Executor
    from lowres.work.processes import LocalProcesses


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyWorking:
    """How a study is done; nothing here changes its results on one kind of machine."""

    jobs: Annotated[int | None, Parameter(alias="-j")] = None
    """Runs at a time; if not given, as many as cores on CPU, as GPUs, or as the cluster holds."""
    threads: int | None = None
    """CPU threads of each run; the cores shared out if not given, or 1 on a cluster."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; where there are several GPUs, auto and cuda share them out."""
    executor: Literal["local", "ray"] = "local"
    """Processes on this machine, or on the machines of a Ray cluster, which share a file system."""
    address: str = "auto"
    """Of the Ray cluster, such as 10.0.0.1:6379; auto for the one this machine belongs to."""

    def __post_init__(self) -> None:
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"--{name} must be at least 1, was {value}")
        if self.executor == "local" and self.address != "auto":
            raise StudyError(f"--address {self.address} is for --executor ray: give that, too")
        if self.executor == "ray" and ":" in self.device:
            raise StudyError(
                f"--device {self.device} names a GPU of one machine: with --executor ray use "
                "auto, cpu or cuda"
            )


WorkingFlags = Annotated[StudyWorking, Parameter(name="*", group="How to work")]


@app.command
def study(
    path: Path,
    *,
    axis: tuple[str, ...] = (),
    plan: Path | None = None,
    seeds: int | None = None,
    recipe: RecipeName | None = None,
    given: RecipeFields = None,
    out_directory: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("study"),
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    print_commands: Annotated[bool, Parameter(negative=())] = False,
    working: WorkingFlags = StudyWorking(),
) -> int:
    """Train every combination of some recipe fields, or go on with a study.

    Runs that are finished are skipped, failed ones tried again; more values may be added later.
    The same study may be started several times at once: no run is trained twice.

    Args:
        path: a store to train on, or the directory of a study to go on with.
        axis: a recipe field, or size, filter, fit or rule of its variant, and the values it takes:
            lr=0.01,0.05 or a range, lr=log:0.001:0.1:7 or width=lin:1:4:4; may be repeated.
        plan: a TOML file with axes, recipe and more (docs/studies.md); flags add to it.
        seeds: runs of each combination, with seeds counted up from --seed; 1 if not given.
        recipe: what the runs have in common: paper if not given, or tensorflow-port.
        given: fields of the recipe.
        out_directory: directory of the study.
        dry_run: print the runs, their cost, and how long they would take on this machine by a
            timed probe of about a minute; write nothing.
        print_commands: plan the study and print a command for each run that is not finished,
            for a queue; train nothing.
        working: how it is done; nothing of it changes a result on one kind of machine.
    """
    _check_ways(working, dry_run=dry_run, print_commands=print_commands)
    if working.executor == "local" and not print_commands:
        require("torch", "train")
    wish = _Wish.of(path, axis, plan, seeds, recipe, given_values(given), out_directory)
    if dry_run:
        return _forecast(wish, working)
    if not print_commands:  # where a queue's machines have what this one lacks
        check_named(wish.base.model, wish.base.optimizer)
    planned = wish.planned()
    if print_commands:
        return _print_commands(planned, working)
    arguments = ("--device", working.device)
    summary = planned.finish(make_executor(working, len(planned.runs)), arguments, track=shown)
    out.print(
        f"{planned.path}: {summary.finished} of {len(planned.runs)} runs finished, "
        f"{len(summary.failed)} failed; look at them with: lowres report {planned.path}"
    )
    for name, reason in summary.failed.items():
        out.print(f"  {name}: {reason}")
    return int(summary.finished < len(planned.runs))


def _check_ways(working: StudyWorking, *, dry_run: bool, print_commands: bool) -> None:
    """Refuse flags that contradict each other, before anything is written."""
    if dry_run and print_commands:
        raise StudyError("--dry-run writes nothing, and --print-commands plans: give one of them")
    if dry_run and working.executor == "ray":
        raise StudyError("--dry-run measures this machine: leave --executor ray out")
    if print_commands and (working.executor == "ray" or working.jobs is not None):
        raise StudyError("--print-commands runs nothing: leave --executor and --jobs out")


class _Wish(NamedTuple):
    """The study that is asked for: one that is there, or a plan."""

    path: Path
    store: Path | None
    base: Recipe
    axes: Sequence[Axis | Together]
    points: Sequence[Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        path: Path,
        axis: tuple[str, ...],
        plan: Path | None,
        seeds: int | None,
        recipe: RecipeName | None,
        values: dict[str, Any],
        out_directory: Path,
    ) -> _Wish:
        from lowres.study.axes import Axis, changed
        from lowres.study.plan_file import PlanFile, read_plan

        if (path / "study.json").exists():
            if axis or plan or recipe or values or seeds is not None:
                raise LowresError(
                    f"{path} is a study and has its axes; to add some, name its store"
                )
            return cls(path, None, Recipe(), (), ())
        planned = read_plan(plan) if plan else PlanFile()
        named = named_recipe(recipe or planned.recipe or "paper")
        base = changed(changed(named, planned.base), values)
        axes = [*map(Axis.parse, axis), *planned.axes]
        _refuse_idle(values, axes, planned)
        axes += _seed_axis(base, axes, planned.seeds if seeds is None else seeds)
        return cls(out_directory, path, base, axes, planned.points)

    def planned(self) -> Study:
        """Make the study, or open it."""
        from lowres.store.store import open_store
        from lowres.study.study import Study

        if self.store is None:
            return Study.open(self.path)
        return Study.plan(self.path, open_store(self.store), self.base, self.axes, self.points)


def _seed_axis(base: Recipe, axes: Sequence[Axis | Together], seeds: int | None) -> list[Axis]:
    from lowres.study.axes import Axis

    if seeds is not None and seeds < 1:
        raise LowresError(f"--seeds must be at least 1, was {seeds}")
    if not any(axis.name == "seed" for one in axes for axis in one.axes):
        return [Axis("seed", tuple(range(base.seed, base.seed + (seeds or 1))))]
    if seeds is not None:
        raise LowresError("give seeds by --seeds or by --axis seed=..., not by both")
    return []


def _refuse_idle(
    values: dict[str, Any], axes: Sequence[Axis | Together], planned: PlanFile
) -> None:
    """Refuse flags of fields that are swept, which would change nothing."""
    swept = {axis.name for one in axes for axis in one.axes}
    for name in values:
        if name in swept and not planned.points:
            flag = name.replace("_", "-")
            raise StudyError(f"{name} is swept: leave --{flag} out, or add it to the axis")


def _local(working: StudyWorking, runs: int) -> LocalProcesses:
    """Share cores, or GPUs, out among processes."""
    torch = require("torch", "train")
    from lowres.work.processes import LocalProcesses, gpu_names, share_cores

    on_gpu = working.device.startswith("cuda") or (
        working.device == "auto" and torch.cuda.is_available()
    )
    gpus = gpu_names(torch.cuda.device_count()) if on_gpu and ":" not in working.device else ()
    gpus = gpus if len(gpus) > 1 else ()
    at_a_time = working.jobs or (max(1, min(len(gpus), runs)) if on_gpu else None)
    jobs, threads = share_cores(runs, at_a_time, working.threads)
    return LocalProcesses(jobs, threads, gpus)


def make_executor(working: StudyWorking, runs: int) -> Executor:
    """Make what finishes runs.

    Args:
        working: how it is to be done.
        runs: how many there are, to share cores out among them.
    """
    if working.executor == "local":
        return _local(working, runs)
    from lowres.work.ray import RayCluster

    gpus = {"cpu": False, "cuda": True}.get(working.device)
    return RayCluster(working.address, threads=working.threads or 1, gpus=gpus, jobs=working.jobs)


def _print_commands(planned: Study, working: StudyWorking) -> int:
    flags = ["--device", working.device] if working.device != "auto" else []
    flags += ["--threads", str(working.threads)] if working.threads is not None else []
    commands = [shlex.join(command) for command in planned.commands(flags)]
    if any("\n" in command for command in commands):
        raise StudyError(f"the path of study {planned.path} has a line break: choose another --out")
    for command in commands:
        out.print(command)
    return 0


def _forecast(wish: _Wish, working: StudyWorking) -> int:
    from lowres.store.store import open_store
    from lowres.study.forecast import forecast, lines
    from lowres.study.study import Study

    if wish.store is None:
        there = Study.open(wish.path)
        store, drafts = there.runs[0].open_store(), there.summaries()
    else:
        store = open_store(wish.store)
        drafts = Study.draft(wish.path, store, wish.base, wish.axes, wish.points)
    executor = _local(working, sum(not draft.finished for draft in drafts))
    told = forecast(store, drafts, executor, ("--device", working.device), track=shown)
    for line in lines(told):
        out.print(line)
    return 0


@app.command
def status(
    folder: Path = Path("study"),
    *,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
) -> None:
    """Tell how a study stands: done, running, failed with the reason, planned, and the time left.

    Args:
        folder: a study, a run, or any folder with runs below it.
        as_json: print it as JSON, with every run.
    """
    from lowres.study import status as told

    found = told.standings(folder)
    if as_json:
        out.print(json.dumps(told.record(folder, found), indent=2))
        return
    out.print(f"{folder}: {told.summary(found)}")
    for line in told.lines(found):
        out.print(f"  {line}")
