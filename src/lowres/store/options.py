"""What to make of a source, and how to work. The command line makes a flag of every field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from lowres.errors import SourceError, StoreError, VariantError
from lowres.reading import Reading
from lowres.resampling import MAX_PIXELS
from lowres.variant import FILTERS, FITS, RULES, Depth, Filter, Fit, Rule, Variant
from lowres.work.threads import available_cores

DEFAULT_SIZES_PX = (16, 32, 64)
DEFAULT_FILTER: Filter = "box"
"""The filter of the released data."""

FilterChoice = Literal[Filter, "all"]
ClassOrder = Literal["source", "devkit"]
LISTS = ("size", "filter", "fit", "rule", "classes")
"""Fields that take one value or several."""


class Preset(NamedTuple):
    """A known way of making variants; docs/resampling.md says how equal the results are."""

    filter: Filter
    fit: Fit
    rule: Rule


PresetName = Literal["chrabaszcz2017", "edm", "hf-lanczos", "adm"]
PRESETS: dict[PresetName, Preset] = {
    "chrabaszcz2017": Preset("box", "squash", "release-2017"),
    "edm": Preset("lanczos", "crop", "pillow"),
    "hf-lanczos": Preset("lanczos", "resize-crop", "pillow"),
    "adm": Preset("bicubic", "adm", "pillow"),
}


def preset_of(variant: Variant) -> PresetName | None:
    """Return the preset that makes a variant, or None."""
    part = Preset(variant.filter, variant.fit, variant.rule)
    return next((name for name, preset in PRESETS.items() if preset == part), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions(Reading):
    """What to make of a source: every size with every filter, fit and rule.

    A list field also takes one value: `BuildOptions(size=8, filter="box")`.
    """

    size: tuple[int, ...] = ()
    """Sides of the squares in pixels. Default: those of 16, 32 and 64 that do not enlarge most
    images; a source of small images (released batches, CIFAR) keeps its own size."""
    filter: tuple[FilterChoice, ...] = ()
    """Names of Pillow's filters, or all for all six. Default: box."""
    fit: tuple[Fit, ...] = ()
    """How a rectangle becomes a square. squash (the default): the whole image, aspect lost.
    crop: the centre square, resized. resize-crop: resized, then the centre square. adm: halved
    with box as often as the size allows, resized, then the centre square."""
    rule: tuple[Rule, ...] = ()
    """Exact arithmetic. pillow (the default): today's Pillow. release-2017: the released data."""
    preset: PresetName | None = None
    """A known filter, fit and rule, in place of the three. chrabaszcz2017: the released data.
    edm: EDM's data tool. hf-lanczos: the repacks of ImageNet on Hugging Face. adm: the crop of
    ADM (guided diffusion) and of EDM2."""
    classes: tuple[str, ...] = ()
    """Keep only these classes: their names; a file with one name a line; imagenet16-120 (-150,
    -200); or a range such as devkit:1-120 or sorted:0-99."""
    class_order: ClassOrder = "source"
    """How labels number the classes. source: in the order of the source, which is sorted WNIDs for
    ImageNet. devkit: in the order of ImageNet's devkit, as NAS-Bench-201: label 0 is n02119789."""
    val_fraction: float | None = None
    """Take this fraction of a source without splits as val, by a hash of each key."""
    test_fraction: float | None = None
    """Divide the only split beside train, val or test, into val and test: this fraction of it
    becomes test, by a hash of each key. Runs are then compared on val, and each is measured on test
    once, at its end."""
    split_file: str | None = None
    """Divide by a split file of NAS-Bench-201. imagenet-16-120-test-split.txt divides val into val
    and test; cifar-split.txt divides train into train and val, and what was val becomes test. It
    counts the images of the released batches, or of CIFAR."""
    exif_rotate: bool = False
    """Rotate images by their EXIF orientation; the released data does not."""
    depth: Depth | None = None
    """What to do with images of more than 8 bits; without it they stop the build. scale: 65535 (of
    floats 1.0) becomes 255. clip: values above 255 become 255, as Pillow does it."""
    background: str | None = None
    """Colour behind transparent pixels, such as white or '#7f7f7f'. Default: alpha is dropped, as
    Pillow does it, so that the colours under transparent pixels show."""

    if TYPE_CHECKING:  # what may be given is wider than what the fields contain

        def __init__(
            self,
            *,
            size: int | Sequence[int] = (),
            filter: FilterChoice | Sequence[FilterChoice] = (),  # noqa: A002  the field's name
            fit: Fit | Sequence[Fit] = (),
            rule: Rule | Sequence[Rule] = (),
            preset: PresetName | None = None,
            classes: str | Sequence[str] = (),
            class_order: ClassOrder = "source",
            val_fraction: float | None = None,
            test_fraction: float | None = None,
            split_file: str | None = None,
            exif_rotate: bool = False,
            depth: Depth | None = None,
            background: str | None = None,
            paths: str | None = None,
            labels: str | None = None,
            split: str | None = None,
            unlabelled: bool = False,
            class_level: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.class_order not in get_args(ClassOrder):
            raise StoreError(
                f"--class-order must be one of {', '.join(get_args(ClassOrder))}, was "
                f"{self.class_order!r}"
            )
        for name in LISTS:
            given = getattr(self, name)
            several = isinstance(given, Iterable) and not isinstance(given, str)
            object.__setattr__(self, name, tuple(given) if several else (given,))

    def variants(self, default_px: Sequence[int] = DEFAULT_SIZES_PX) -> tuple[Variant, ...]:
        """List size x filter x fit x rule, sizes first.

        Args:
            default_px: the sizes to make if none was chosen.

        Raises:
            VariantError: a part does not exist, or a preset is chosen beside a part of it.
        """
        sizes = self.size or default_px
        named = tuple(name for name in self.filter if name != "all") or (DEFAULT_FILTER,)
        filters = FILTERS if "all" in self.filter else named
        chosen = product(filters, self.fit or FITS[:1], self.rule or RULES[:1])
        parts = [Preset(*part) for part in chosen]
        if self.preset is not None:
            if self.preset not in PRESETS:
                names = ", ".join(PRESETS)
                raise VariantError(f"--preset must be one of {names}, was {self.preset!r}")
            parts = [PRESETS[self.preset]]
            for part, value in parts[0]._asdict().items():
                if given := getattr(self, part):
                    raise VariantError(
                        f"--preset {self.preset} already sets --{part} {value}: leave out "
                        f"--{part} {' '.join(given)}, or the preset"
                    )
        return tuple(dict.fromkeys(Variant(size, *part) for size in sizes for part in parts))

    def to_record(self) -> dict[str, Any]:
        """Return the fields that choose what is taken from the source, as JSON values.

        How the source is read is left out where it is the default.
        """
        of_variants = ("size", "preset", *Preset._fields, "split_file")
        usual = {field.name: field.default for field in fields(Reading)} | {"test_fraction": None}
        file = {} if self.split_file is None else {"split_file": Path(self.split_file).name}
        return file | {
            name: value
            for name, value in asdict(self).items()
            if name not in of_variants and not (name in usual and value == usual[name])
        }


OnError = Literal["stop", "skip"]
OnChange = Literal["stop", "rebuild"]
ExecutorName = Literal["threads", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """How a build works. Nothing here changes a byte of the store."""

    workers: int | None = None
    """Threads. Default: all cores of this machine. With --executor ray: threads of each job;
    default: the cores of the smallest machine."""
    on_error: OnError = "stop"
    """At an image that cannot be decoded: stop, or skip it and record it."""
    max_pixels: int | Literal["none"] = MAX_PIXELS
    """An image with more pixels cannot be decoded: stop, or skip it. none: no limit. A thread needs
    up to 28 bytes of memory for each pixel."""
    on_change: OnChange = "stop"
    """At an image that has changed since an interrupted build took it: stop, or rebuild its
    rows."""
    executor: ExecutorName = "threads"
    """Build in threads here, or as jobs on a Ray cluster whose machines share a file system."""
    address: str = "auto"
    """Address of the Ray cluster, such as 10.0.0.1:6379; auto: the one of this machine."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise StoreError(f"--workers must be at least 1, was {self.workers}")
        if self.max_pixels != "none" and self.max_pixels < 1:
            raise StoreError(f"--max-pixels must be at least 1, or none, was {self.max_pixels}")
        if self.executor == "threads" and self.address != "auto":
            raise StoreError(f"--address {self.address} is for --executor ray: add that")

    @property
    def pixel_limit(self) -> int | None:
        """The most pixels of an image; None for no limit."""
        return None if self.max_pixels == "none" else self.max_pixels

    @property
    def threads(self) -> int:
        """Threads on this machine: as chosen, or one for each core."""
        return self.workers or available_cores()


def class_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return class names as given, with each file of names replaced by its lines.

    A text is taken for a file if a file of that name exists and the name has a suffix or a folder.

    Raises:
        SourceError: a file is not UTF-8 text, or contains no names.
    """
    names: list[str] = []
    for one in given:
        path = Path(one)
        if not path.is_file() or not (path.suffix or "/" in one):
            names.append(one)
            continue
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise SourceError(f"{one} must be a text file of class names in UTF-8") from None
        lines = [line.strip() for line in text.splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise SourceError(f"{one} names no classes: write one name a line")
        names += found
    return tuple(names)
