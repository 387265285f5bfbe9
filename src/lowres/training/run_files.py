"""What the JSON files of a run's directory hold; `work/records.py` reads them by these types."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Required, TypedDict

from lowres.work.records import Amount, Count, Share, StorePlace


class Plan(TypedDict):
    """What `recipe.json` holds."""

    store: StorePlace
    recipe: dict[str, Any]
    start: NotRequired[Start]


class Start(TypedDict):
    """The weights of a warm start: the run that they are of, and the SHA-256 of their file."""

    run: str
    sha256: str


class Epoch(TypedDict, total=False):
    """A line of `metrics.jsonl`; what may be missing, an older lowres did not record."""

    epoch: Required[Count]
    train_s: Required[Amount]
    eval_s: Required[Amount]
    top1_error: Share | None
    top5_error: Share | None
    test_top1_error: Share
    test_top5_error: Share
    lr: Amount
    train_loss: float | None
    eval_loss: float | None
    together: Count
    bad_step: int
    bad_lr: Amount


class Outcome(TypedDict, total=False):
    """What `result.json` holds; what may be missing, an older lowres did not record."""

    status: Required[Literal["trained", "diverged"]]
    top1_error: Required[Share | None]
    train_s: Required[Amount]
    top5_error: Share | None
    test_top1_error: Share
    test_top5_error: Share
    balanced_error: Share
    worst_classes: list[ClassError]
    confused_classes: list[Confusion]
    eval_split: str
    eval_loss: float | None
    train_loss: float | None
    epochs: Count
    bad_step: int | None
    bad_lr: Amount | None
    network: str
    parameters: Count
    macs: Amount
    train_macs: Amount
    weights_sha256: str
    precision: str
    compiled: bool
    compile_s: Amount
    processes: Count
    together: Count
    eval_s: Amount
    images_per_s: Amount
    hardware: dict[str, Any]
    versions: dict[str, str]


ClassError = TypedDict("ClassError", {"class": str, "images": Count, "error": Share})
"""The error of a class, a share of its images."""

Confusion = TypedDict(
    "Confusion", {"class": str, "taken_for": str, "images": Count, "share": Share}
)
"""Images of a class that were taken for one other class, and their share of the class."""


class Classes(TypedDict):
    """What `classes.json` holds."""

    balanced_error: Share
    classes: list[ClassError]
    confused: list[Confusion]


class Failure(TypedDict):
    """What `error.json` holds."""

    type: str
    message: str
    traceback: NotRequired[str]
