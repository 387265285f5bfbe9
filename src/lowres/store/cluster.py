"""A build on a Ray cluster: its shards are jobs, each of which is a `lowres build --shard`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import cast

from lowres.errors import StoreBusyError, StoreError, require
from lowres.formats.containers.remote import url_of
from lowres.progress import Track
from lowres.store.journal import images_built
from lowres.store.options import Working
from lowres.store.prepare import Prepared
from lowres.store.staging import BUILDING, IF_MEMORY, Shard, read_when_killed, work_directory
from lowres.work.executor import BUSY_STATUS, Job, Result
from lowres.work.ray import RayCluster, connected

DRIVER = "build-on-ray"
"""The part of a build that the process which hands out the shards has locked."""

SHARDS_A_SLOT = 3
"""Shards for each job that fits into the cluster at a time; machines that join take the rest."""

SHARD_IMAGES = 500
"""A shard of fewer images costs more to start than it saves."""

BUSY_ROUNDS = 10
"""How often busy shards are tried again: a process on a lost machine may take a while to end."""

POLL_S = 2.0
"""Seconds between two looks at the journals for the progress; more if reading them takes long."""


def build_on_ray(
    store: Path, prepared: Prepared, working: Working, track: Track, killed: str = ""
) -> None:
    """Run shards as jobs on a Ray cluster until every chunk is built.

    Raises:
        MissingExtraError: ray is not installed.
        LowresError: no cluster answers, or it lost a job too often.
        StoreError: a shard failed; the message has the end of its log.
        StoreBusyError: another process builds on a cluster into this store, or builds a shard.
    """
    ray = require("ray", "ray")
    with (
        work_directory(store).lock(BUILDING, part=DRIVER),
        track("build", prepared.images, done=images_built(store)) as display,
        connected(ray, working.address),
    ):
        if killed:  # what is known of an earlier build
            display.say(f"{killed}. {IF_MEMORY}")
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
        threads = working.workers or (1 if prepared.source.in_order else min(cores))
        slots = sum(count // threads for count in cores)
        if not slots:
            raise StoreError(
                f"no machine of the Ray cluster has {threads} cores: the largest has "
                f"{max(cores)}, so choose fewer --workers"
            )
        shards = max(slots, min(SHARDS_A_SLOT * slots, prepared.images // SHARD_IMAGES))
        waiting = [
            _shard_job(store, prepared, working, Shard(number + 1, shards), threads)
            for number in range(shards)
        ]
        cluster = RayCluster(working.address, threads=threads, gpus=False)
        ended = threading.Event()

        def follow() -> None:
            shown, pause_s, last = images_built(store), POLL_S, False
            while not last:
                last = ended.wait(pause_s)
                began = time.monotonic()
                now = images_built(store)
                pause_s = max(POLL_S, 10 * (time.monotonic() - began))
                display.advance(now - shown)
                shown = now

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            for _ in range(BUSY_ROUNDS):
                waiting = _run_jobs(cluster, waiting, prepared)
                if not waiting:
                    return
                time.sleep(1.0)
            raise StoreBusyError(f"{waiting[0].name} of {store} is being built by another process")
        finally:
            ended.set()
            follower.join()


def _shard_job(
    store: Path, prepared: Prepared, working: Working, shard: Shard, threads: int
) -> Job:
    """Return the command that builds a shard with all options of this build."""
    flags = [f"--shard={shard}", f"--workers={threads}"]
    flags += [f"--on-error={working.on_error}", f"--on-change={working.on_change}"]
    flags.append(f"--max-pixels={working.max_pixels}")
    for field in fields(prepared.options):
        value, flag = getattr(prepared.options, field.name), f"--{field.name.replace('_', '-')}"
        if isinstance(value, tuple):
            flags += [f"{flag}={one}" for one in value]
        elif value is True:
            flags.append(flag)
        elif value != field.default:
            flags.append(f"{flag}={value}")
    source = prepared.source.path
    paths = url_of(source) or str(source.absolute()), str(store.absolute())
    command = (sys.executable, "-P", "-m", "lowres", "build", *paths, *flags)
    return Job(f"shard {shard}", command, store / f"{shard.name}.log")


def _run_jobs(cluster: RayCluster, jobs: list[Job], prepared: Prepared) -> list[Job]:
    """Run jobs, and return those that found their shard busy."""
    busy = []
    for job in jobs:
        job.log.unlink(missing_ok=True)
    with closing(cast("Generator[Result]", cluster.finish(jobs))) as results:
        for result in results:
            if result.exit_status == BUSY_STATUS:
                busy.append(result.job)
            elif result.exit_status < 0:
                name, reading = result.job.name, result.job.log.with_suffix(".reading")
                images = read_when_killed(prepared, [reading]) or "no image"
                raise StoreError(
                    f"{name} was killed on the Ray cluster by "
                    f"{signal.Signals(-result.exit_status).name} while it read {images}. "
                    f"{IF_MEMORY}; or start Ray with fewer cores (ray start --num-cpus). Then run "
                    "the same command again, which resumes"
                )
            elif result.exit_status:
                log = result.job.log
                lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
                raise StoreError(
                    f"{result.job.name} failed on the Ray cluster with exit status "
                    f"{result.exit_status}; the end of {log}:\n  " + "\n  ".join(lines[-5:])
                )
    return busy
