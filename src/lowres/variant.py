"""A variant: one size and one filter, named like `32-box`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, Self, get_args

from lowres.errors import VariantError

Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The six filters of Pillow that the paper compares, by Pillow's names in lower case."""

FILTERS: tuple[Filter, ...] = get_args(Filter)
MAX_SIZE_PX = 1024


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One small-pixel rendering of a set: squares of `size` pixels made with `filter`.

    Attributes:
        size: side of the square in pixels, 1 to 1024.
        filter: one of the six filters.

    Raises:
        VariantError: a size or filter outside these.
    """

    size: int
    filter: Filter

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE_PX:
            raise VariantError(f"size must be 1 to {MAX_SIZE_PX} pixels, was {self.size}")
        if self.filter not in FILTERS:
            near = difflib.get_close_matches(str(self.filter), FILTERS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise VariantError(
                f"filter must be one of {', '.join(FILTERS)}, was {self.filter!r}{hint}"
            )

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name such as `32-box`.

        Raises:
            VariantError: the name is not of that form.
        """
        size, dash, filter_name = name.partition("-")
        if not dash or not size.isascii() or not size.isdigit():
            raise VariantError(f"a variant is named SIZE-FILTER, such as 32-box; was {name!r}")
        return cls(int(size), filter_name)  # type: ignore[arg-type]  # checked on construction

    def __str__(self) -> str:
        return f"{self.size}-{self.filter}"
