"""How to read a source: what its files do not say, in flags of `lowres build` and `info`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a source does not say itself."""

    paths: str | None = None
    """Column with the paths of the images, if SOURCE is a table (CSV, TSV, JSON lines, Parquet).
    Default: the one whose name leaves no doubt, such as file_name."""
    labels: str | None = None
    """Column of the table with the classes: names, or whole numbers from 0."""
    split: str | None = None
    """Column of the table with the splits. Default: a column split, if there is one."""
    unlabelled: bool = False
    """Read images without labels, wherever they lie: one class, for generative models."""
    class_level: int | None = None
    """How many folders deep the classes lie in a folder, counted from SOURCE or from its split
    folders. Default: the level that leaves no doubt."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The flags that name a column."""
        flags = ("paths", "labels", "split")
        return tuple(flag for flag in flags if getattr(self, flag) is not None)
