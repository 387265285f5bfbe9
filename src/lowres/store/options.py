"""What to make of a source. The command line makes a flag of every field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lowres.errors import SourceError, StoreError, VariantError
from lowres.variant import FILTERS, FITS, RULES, Filter, Fit, Rule, Variant

DEFAULT_SIZES_PX = (16, 32, 64)
DEFAULT_FILTER: Filter = "box"
"""What the released data is made with."""


class Preset(NamedTuple):
    """A way of making variants that people know by a name; docs/resampling.md says how equal."""

    filter: Filter
    fit: Fit
    rule: Rule


PresetName = Literal["chrabaszcz2017", "edm", "hf-lanczos"]
PRESETS: dict[PresetName, Preset] = {
    "chrabaszcz2017": Preset("box", "squash", "release-2017"),
    "edm": Preset("lanczos", "crop", "pillow"),
    "hf-lanczos": Preset("lanczos", "resize-crop", "pillow"),
}


def preset_of(variant: Variant) -> PresetName | None:
    """Give the name that people know a way of making variants by, if it has one."""
    part = Preset(variant.filter, variant.fit, variant.rule)
    return next((name for name, preset in PRESETS.items() if preset == part), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """What to make of a source. Every size is made with every filter, fit and rule."""

    size: tuple[int, ...] = ()
    """Sides of the squares in pixels; if not given, 16, 32 and 64, or the source's own size where
    it has one (released batches, CIFAR)."""
    filter: tuple[Literal[Filter, "all"], ...] = ()
    """Pillow's filters by name, or all six; box if not given."""
    fit: tuple[Fit, ...] = ()
    """How a rectangle becomes a square; squash if not given: the whole image, aspect lost.
    crop: the centre square, resized. resize-crop: resized, then the centre square."""
    rule: tuple[Rule, ...] = ()
    """Exact arithmetic; pillow if not given: today's. release-2017: the released data's."""
    preset: PresetName | None = None
    """Filter, fit and rule by a known name, in place of the three: chrabaszcz2017 is the released
    data's, edm that of EDM's data tool, hf-lanczos that of repacks of ImageNet."""
    classes: tuple[str, ...] = ()
    """Keep only these classes: names, here or one a line in a file; imagenet16-120 (-150, -200);
    or a range such as devkit:1-120 or sorted:0-99."""
    val_fraction: float | None = None
    """Take this fraction of a source without splits as val, by a hash of each key."""
    exif_rotate: bool = False
    """Turn images as their EXIF orientation says; the released data does not."""

    def variants(self, native_px: int | None = None) -> tuple[Variant, ...]:
        """List size x filter x fit x rule, sizes first.

        Args:
            native_px: the size to make if none is given; the usual three if None.

        Raises:
            VariantError: a part does not exist, or a preset is given beside what it stands for.
        """
        sizes = self.size or (DEFAULT_SIZES_PX if native_px is None else (native_px,))
        filters = FILTERS if "all" in self.filter else self.filter or (DEFAULT_FILTER,)
        parts = product(filters, self.fit or FITS[:1], self.rule or RULES[:1])
        if self.preset is not None:
            parts = iter([self._preset()])  # type: ignore[assignment]
        rendered = list(parts)
        variants = [Variant(size, *part) for size in sizes for part in rendered]  # type: ignore[arg-type]
        return tuple(dict.fromkeys(variants))

    def _preset(self) -> Preset:
        if self.preset not in PRESETS:
            raise VariantError(f"--preset must be one of {', '.join(PRESETS)}, was {self.preset!r}")
        preset = PRESETS[self.preset]
        for part in Preset._fields:
            if getattr(self, part):
                raise VariantError(
                    f"--preset {self.preset} stands for --{part} {getattr(preset, part)}: give the "
                    f"preset, or --{part} {' '.join(getattr(self, part))}"
                )
        return preset

    def to_record(self) -> dict[str, Any]:
        """Give the fields that say what is taken from the source, as JSON values."""
        chosen = asdict(self)
        for part in ("size", "filter", "fit", "rule", "preset"):
            del chosen[part]
        return chosen


OnError = Literal["stop", "skip"]
OnChange = Literal["stop", "rebuild"]
ExecutorName = Literal["threads", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """How a build is done; nothing here changes a byte of the store. Every field is a flag."""

    on_error: OnError = "stop"
    """At an image that cannot be decoded: stop, or skip it and record it."""
    on_change: OnChange = "stop"
    """At an image that changed after an interrupted build had taken it: stop, or take it again."""
    executor: ExecutorName = "threads"
    """Build in threads here, or on the machines of a Ray cluster, which share a file system."""
    address: str = "auto"
    """Of the Ray cluster, such as 10.0.0.1:6379; auto for the one this machine belongs to."""

    def __post_init__(self) -> None:
        if self.executor == "threads" and self.address != "auto":
            raise StoreError(f"--address {self.address} is for --executor ray: give that, too")


def class_names(given: Sequence[str]) -> tuple[str, ...]:
    """Take class names as given, and from files, one a line.

    What is given is a file if there is one of that name and the name has a suffix or a folder.

    Raises:
        SourceError: a file is no UTF-8 text, or names no classes.
    """
    return tuple(name for text in given for name in _names_in(text))


def _names_in(given: str) -> tuple[str, ...]:
    path = Path(given)
    if not path.is_file() or not (path.suffix or "/" in given):
        return (given,)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{given} must be a text file of class names, in UTF-8") from None
    lines = (line.strip() for line in text.splitlines())
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise SourceError(f"{given} names no classes")
    return names
