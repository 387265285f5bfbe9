"""The training loop: a run's directory in, its result out; an interrupted run resumes.

A checkpoint is written after each epoch, and between two steps if SIGINT or SIGTERM requests a
stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch

from lowres.errors import RunBusyError
from lowres.progress import Display, Track, silent
from lowres.recipe import Recipe
from lowres.store.store import Store
from lowres.text import percent
from lowres.training import checkpoint
from lowres.training.distributed import Team
from lowres.training.evaluate import Errors, evaluate
from lowres.training.execution import Execution, Log
from lowres.training.results import epoch_line, epoch_record, run_result
from lowres.training.run import WEIGHTS_FILE, Run
from lowres.training.session import Resident, Session, Stop, open_session
from lowres.training.step import Graph, Step, side_by_side
from lowres.training.trackers import event_files

NOTE_EVERY_S = 2.0
"""How often the display gets a new loss; reading it makes a GPU wait."""

End: TypeAlias = dict[str, Any] | Exception
"""How a run ended: its result, or why it has none."""


def train(
    store: Store,
    recipe: Recipe,
    path: Path | str,
    *,
    execution: Execution | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a recipe on a store in a run's directory, or resume the run that is there.

    Args:
        store: the images.
        recipe: every decision.
        path: the run's directory; new, empty, or of this same run.
        execution: device, threads, compiling, loading and logs.
        track: shows progress.

    Returns:
        The result, as in `result.json`: errors are shares from 0 to 1, times in seconds.

    Raises:
        RunError: the directory holds something else, or the run cannot be trained here.
        RecipeError: the store has too few images or lacks the split for errors.
        StoreError: the store lacks the variant.
    """
    run = Run.plan(Path(path), recipe, store)
    return finish(run, execution=execution, track=track)


def finish(
    run: Run,
    *,
    store: Path | None = None,
    execution: Execution | None = None,
    team: Team | None = None,
    track: Track = silent,
) -> dict[str, Any]:
    """Train a run to its end and return its result; a finished run returns it at once.

    A failure is recorded in the run's directory before it is raised.

    Args:
        run: the run.
        store: where its store is now, if it has moved.
        execution: device, threads, compiling, loading and logs.
        team: the processes that train it, each calling this; default: this process alone.
        track: shows progress.

    Raises:
        RunError: the run cannot be trained here.
        RunBusyError: another process is training it.
        RecipeError: the store has too few images or lacks the split for errors.
        StoreError: its store is missing or damaged.
    """
    [end] = finish_pack([run], store=store, execution=execution, team=team, track=track)
    if isinstance(end, Exception):
        raise end
    return end


def finish_pack(
    runs: Sequence[Run],
    *,
    store: Path | None = None,
    execution: Execution | None = None,
    team: Team | None = None,
    track: Track = silent,
) -> list[End]:
    """Train runs side by side to their ends.

    Each run has its own network, optimizer and checkpoint, and ends as it would alone: to the bit
    on a GPU, up to the order of sums on the CPU. If one cannot be opened, diverges or is finished,
    the others are trained.

    Args:
        runs: runs of one store.
        store: where their store is now, if it has moved.
        execution: device, threads, compiling, loading and logs.
        team: the processes that train one run, each calling this; default: this process alone.
        track: shows progress.

    Returns:
        For each run its result, or why it has none: RunBusyError if another process trains it,
        otherwise the error that is recorded in its directory.
    """
    execution, team = execution or Execution(), team or Team()
    if len(runs) > 1 and execution.compile == "auto":
        execution = replace(execution, compile="off")  # seconds a run, for a part of its step
    ends: dict[Path, End] = {}
    stop = Stop()
    with stop.listening(), ExitStack() as held:
        steps = _opened(runs, store, execution, team, stop, held, ends)
        try:
            for step, result in _train(steps, execution.log, track if team.first else silent):
                ends[step.session.run.path] = result
        except Exception as error:  # noqa: BLE001  of any of them; it ends all
            for run in runs:
                if run.path not in ends:
                    ends[run.path] = _failed(run, error, team)
    team.wait()
    return [ends[run.path] for run in runs]


def _opened(
    runs: Sequence[Run],
    store: Path | None,
    execution: Execution,
    team: Team,
    stop: Stop,
    held: ExitStack,
    ends: dict[Path, End],
) -> list[Step]:
    """Lock and open the runs that can be trained; the ends of the others are put into `ends`."""
    steps, resident = [], Resident()
    # All locks first: another process then leaves the whole pack to this one.
    for run in runs if team.first else ():
        try:
            if not run.finished:
                held.enter_context(run.locked())
        except RunBusyError as error:
            ends[run.path] = error
        if run.finished:
            ends[run.path] = run.result()
    for run in runs:
        end = team.broadcast(ends.get(run.path))
        if end is not None:
            ends[run.path] = end
            continue
        try:
            if team.first:
                run.clear_error()
            opened = open_session(run, run.open_store(store), execution, team, stop, resident)
            steps.append(Step(held.enter_context(opened)))
        except Exception as error:  # noqa: BLE001  a network of the user's may raise anything
            ends[run.path] = _failed(run, error, team)
    return steps


def _failed(run: Run, error: Exception, team: Team) -> Exception:
    """Record why a run ended; several processes end at once, as they would wait for each other."""
    if team.first:
        run.fail(error)
    if team.size > 1:
        raise error
    return error


def _train(steps: Sequence[Step], log: Log, track: Track) -> Iterator[tuple[Step, dict[str, Any]]]:
    """Train runs epoch by epoch, and yield each with its result when it has ended.

    Runs that were interrupted may differ in how far they are: those behind are trained first.
    """
    training = list(steps)
    sessions = [step.session for step in steps]
    total = sum(one.steps * one.recipe.batch_size for one in sessions)
    done = sum(one.steps_taken * one.recipe.batch_size for one in sessions)
    with ExitStack() as files, track("train", total, done=done) as display:
        write_events = {
            one.run.path: files.enter_context(_begun(one, log, display)) for one in sessions
        }
        group: list[Step] = []
        measured: list[Step] = []
        for step in steps:
            if step.session.over:  # it was stopped between its last epoch and its result
                training.remove(step)
                yield step, _publish(step.session)
        while training:
            least = min(step.session.steps_taken for step in training)
            behind = [step for step in training if step.session.steps_taken == least]
            if behind != group:
                group, take = behind, side_by_side(behind, display)
            _train_epoch(group, take, display)
            if group[0].session.progress.partial.steps < len(group[0].session.train_loader):
                for step in group:
                    _save(step.session)
                raise KeyboardInterrupt
            sound = [step for step in group if math.isfinite(step.session.progress.partial.loss)]
            if sound and sound != measured:
                measured, measure = sound, _measuring(sound, display)
            errors, eval_s = _measured(sound, measure) if sound else ({}, 0.0)
            for step in group:
                one, history = step.session, step.session.progress.history
                record = epoch_record(one, errors.get(step), eval_s)
                one.progress.finish_epoch(record | {"together": len(group)})
                _save(one)
                write_events[one.run.path](history[-1])
                line = epoch_line(history[-1], one.recipe.epochs)
                display.say(line if len(steps) == 1 else f"{one.run.path.name}: {line}")
                if one.over:
                    training.remove(step)
                    yield step, _publish(one)


@contextmanager
def _begun(
    session: Session, log: Log, display: Display
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write the metrics so far, show the notes, and yield what reports an epoch."""
    history, forward = session.progress.history, session.forward
    if session.team.first:
        session.run.write_metrics(history)
    if forward.compiled:
        display.say(f"compiled in {forward.compile_s:.0f} s, not counted as training")
    for note in filter(None, (forward.note, session.progress.note)):
        display.say(note)
    path, writes = session.run.path, session.team.first
    with event_files(path, log, len(history), writes=writes) as write:

        def report(record: dict[str, Any]) -> None:
            write(record)
            if writes:
                session.callback(session.run, record)

        yield report


def _publish(session: Session) -> dict[str, Any]:
    """Write the weights and the result of a run that has ended, and return the result."""
    result = run_result(session)
    if session.team.first:
        if result["status"] == "trained":
            session.trained.save(session.run.path / WEIGHTS_FILE, session.run.store_digest)
        session.run.finish(result)
        session.callback(session.run, result)
    return result


def _save(session: Session) -> None:
    """Write the checkpoint, and then its metrics, so that these are never ahead of it."""
    if session.team.first:
        model, progress = session.network.module, session.progress
        checkpoint.save(session.run.path, model, session.optimizer, progress, session.numerics)
        session.run.write_metrics(progress.history)


def _train_epoch(group: Sequence[Step], take: Callable[[], None], display: Display) -> None:
    """Train runs on the remaining batches of their epoch, or until a stop is requested.

    Args:
        group: runs with equally many steps taken and to come.
        take: takes one step of each.
        display: shows progress.
    """
    session = group[0].session
    team, history = session.team, session.progress.history
    epoch, per_epoch, first = len(history), len(session.train_loader), session.progress.partial
    began = noted = time.perf_counter()
    for step in group:
        step.begin(epoch)
    taken = first.steps
    while taken < per_epoch:
        take()
        taken += 1
        display.advance(sum(step.session.recipe.batch_size for step in group))
        if time.perf_counter() - noted > NOTE_EVERY_S:
            noted = time.perf_counter()
            mean = (float(group[0].loss) - first.loss) / (taken - first.steps)
            note = f"epoch {epoch + 1}/{session.recipe.epochs}, loss {mean * team.size:.3f}"
            if history and history[-1]["top1_error"] is not None:
                note += f", top-1 error {percent(history[-1]['top1_error'])}"
            display.note(note)
        if team.any(session.stop.requested, epoch * per_epoch + taken - 1):
            break
    if session.device.type == "cuda":
        torch.cuda.synchronize(session.device)
    seconds = (time.perf_counter() - began) / len(group)
    for step in group:
        step.pause(taken, seconds)


def _measuring(group: Sequence[Step], display: Display) -> Callable[[], list[Errors]]:
    """Return a function that measures the errors of runs after an epoch.

    If a CUDA graph repeats their steps, another one repeats the batches of their evaluations.
    """
    sessions = [step.session for step in group]
    evaluations = [one.evaluation(one.eval_loader) for one in sessions]
    [whole, *others] = {one.whole for one in evaluations}
    graphed = whole and not others and all(one.graphed for one in sessions)
    graph = Graph(evaluations, sessions[0].device, display, "measuring errors") if graphed else None
    return partial(evaluate, evaluations, graph)


def _measured(
    group: Sequence[Step], measure: Callable[[], list[Errors]]
) -> tuple[dict[Step, Errors], float]:
    """Measure the errors of runs; return those of each, and the seconds for one run."""
    began = time.perf_counter()
    for step in group:
        step.session.optimizer.eval()
    errors = dict(zip(group, measure(), strict=True))
    return errors, (time.perf_counter() - began) / len(group)
