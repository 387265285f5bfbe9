"""What to make of a source. The command line makes a flag of every field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lowres.errors import VariantError
from lowres.variant import FILTERS, Filter, Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """What to make of a source."""

    size: tuple[int, ...] = (16, 32, 64)
    """Sides of the squares in pixels; every size is made with every filter."""
    filter: tuple[Literal[Filter, "all"], ...] = ("box",)
    """Pillow's filters by name, or all six."""
    classes: tuple[str, ...] = ()
    """Keep only these classes, named here or one a line in a file; labels stay in sorted order."""
    val_fraction: float | None = None
    """Take this fraction of a source without splits as val, by a hash of each key."""
    exif_rotate: bool = False
    """Turn pictures as their EXIF orientation says; the released data does not."""

    def variants(self) -> tuple[Variant, ...]:
        """List size x filter, sizes first.

        Raises:
            VariantError: a size or filter does not exist, or none is asked for.
        """
        filters = FILTERS if "all" in self.filter else self.filter
        variants = dict.fromkeys(
            Variant(size, filter_)  # type: ignore[arg-type]  # checked on construction
            for size in self.size
            for filter_ in filters
        )
        if not variants:
            raise VariantError("a build needs at least one --size and one --filter")
        return tuple(variants)

    def to_record(self) -> dict[str, Any]:
        """Give the fields as JSON values, alike for options that make the same store."""
        variants = self.variants()
        return {
            **asdict(self),
            "size": sorted({variant.size for variant in variants}),
            "filter": [name for name in FILTERS if name in {v.filter for v in variants}],
            "classes": sorted(self.classes),
        }
