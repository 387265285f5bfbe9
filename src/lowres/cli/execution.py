"""How studies, searches and decisions train runs: their flags, and the executor made of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cyclopts import Group

from lowres.cli.flags import flags_of
from lowres.errors import StudyError, require

if TYPE_CHECKING:
    from lowres.work.executor import Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyExecution:
    """How the runs of a study are spread; on one kind of machine it changes rounding at most."""

    jobs: int | None = None
    """Runs at a time. Default: one for each core or GPU, or as many as the cluster holds."""
    threads: int | None = None
    """CPU threads of each run. Default: an equal share of the cores, or 1 on a cluster."""
    together: int | Literal["auto"] = "auto"
    """Runs that a process trains side by side; each has its own result. auto: on a GPU, as many
    small networks as keep it busy; on the CPU, up to 8 where that is faster. On the CPU sums are
    then rounded differently; 1: with the bits of a run alone."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N. If there are several GPUs, auto and cuda use them all."""
    executor: Literal["local", "ray"] = "local"
    """local: processes on this machine. ray: jobs on a Ray cluster, whose machines share a file
    system."""
    address: str = "auto"
    """Address of the Ray cluster, such as 10.0.0.1:6379; auto: the one of this machine."""
    callback: str | None = None
    """package.module:function that each run calls after each epoch (docs/training.md), such as
    lowres.training.trackers:mlflow."""

    def __post_init__(self) -> None:
        for name in ("jobs", "threads", "together"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise StudyError(f"--{name} must be at least 1, was {value}")
        if self.executor == "local" and self.address != "auto":
            raise StudyError(f"--address {self.address} is for --executor ray: add that flag")
        if self.executor == "ray" and ":" in self.device:
            raise StudyError(
                f"--device {self.device} names a GPU of one machine: with --executor ray use "
                "auto, cpu or cuda"
            )

    @property
    def training_flags(self) -> tuple[str, ...]:
        """The flags of each `lowres train`."""
        called = () if self.callback is None else ("--callback", self.callback)
        return ("--device", self.device, "--together", str(self.together), *called)


if TYPE_CHECKING:
    StudyExecutionFlags: TypeAlias = Any
else:
    StudyExecutionFlags = flags_of(StudyExecution, Group("How to run it", sort_key=2))


def make_executor(execution: StudyExecution, runs: int) -> Executor:
    """Return what trains runs: processes that share the cores or GPUs, or a Ray cluster.

    Args:
        execution: how the user wants them to be spread.
        runs: the number of runs.
    """
    if execution.executor == "ray":
        from lowres.work.ray import RayCluster

        on_gpu = {"cpu": False, "cuda": True}.get(execution.device)
        threads = execution.threads or 1
        return RayCluster(execution.address, threads=threads, gpus=on_gpu, jobs=execution.jobs)
    torch = require("torch", "train")
    from lowres.work.processes import LocalProcesses, gpu_names, share_cores

    use_gpus = execution.device.startswith("cuda") or (
        execution.device == "auto" and torch.cuda.is_available()
    )
    gpus = gpu_names(torch.cuda.device_count()) if use_gpus and ":" not in execution.device else ()
    gpus = gpus if len(gpus) > 1 else ()
    at_a_time = execution.jobs or (max(1, min(len(gpus), runs)) if use_gpus else None)
    jobs, threads = share_cores(runs, at_a_time, execution.threads)
    return LocalProcesses(jobs, threads, gpus)


def workers_of(executor: Executor) -> int | None:
    """Return how many processes of this machine share the runs; None on a cluster: one a run."""
    from lowres.work.processes import LocalProcesses

    return executor.jobs if isinstance(executor, LocalProcesses) else None
