"""A variant: a size, a filter, a fit and a rule, named like `32-box` or `64-lanczos-crop`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, get_args

from lowres.errors import VariantError, nearest

Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The six filters of Pillow that the paper compares, by Pillow's names in lower case."""

Fit = Literal["squash", "crop", "resize-crop", "adm"]
"""How a rectangle becomes a square. squash: the whole image, as in the paper; its aspect is lost.
crop: the centre square, resized. resize-crop: resized until the shorter side fits, then cut.
adm: halved with box while the shorter side is at least twice the size, then as resize-crop."""

Rule = Literal["pillow", "release-2017"]
"""The exact arithmetic: that of Pillow 7.0 and later, or that of Pillow 3.4.2 to 4.1.1, which made
the released ImageNet8/16/32/64 (docs/resampling.md)."""

Depth = Literal["clip", "scale"]
"""What becomes of values beyond 8 bits. clip: above 255 they become 255, as Pillow does it. scale:
65535, or 1.0 in an image of floats, becomes 255."""

FILTERS: tuple[Filter, ...] = get_args(Filter)
FITS: tuple[Fit, ...] = get_args(Fit)
RULES: tuple[Rule, ...] = get_args(Rule)
MAX_SIZE_PX = 1024
MOST_DIGITS = 9
"""Digits of a size that are read as a number at all."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One small-pixel rendering of a set: squares of `size` pixels made with `filter`.

    The defaults, fit `squash` and rule `pillow`, are not part of its name. Variants sort by size,
    filter, fit and rule, the defaults first.

    Attributes:
        size: side of the square in pixels, 1 to 1024.
        filter: one of the six filters.
        fit: how a rectangle becomes a square.
        rule: the exact arithmetic.

    Raises:
        VariantError: a size, filter, fit or rule does not exist.
    """

    size: int
    filter: Filter
    fit: Fit = "squash"
    rule: Rule = "pillow"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE_PX:
            raise VariantError(f"size must be 1 to {MAX_SIZE_PX} pixels, was {self.size}")
        for part, known in (("filter", FILTERS), ("fit", FITS), ("rule", RULES)):
            value = getattr(self, part)
            if value not in known:
                hint = nearest(str(value), known)
                hint = f"; {hint}" if hint else ""
                raise VariantError(f"{part} must be one of {', '.join(known)}, was {value!r}{hint}")

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, name: str) -> Self:
        """Read a name such as `32-box`, `64-lanczos-crop` or `32-box-release-2017`.

        Raises:
            VariantError: the name has another form.
        """
        size, dash, rest = name.partition("-")
        if not dash or not size.isascii() or not size.isdigit() or len(size) > MOST_DIGITS:
            raise VariantError(
                f"a variant is named SIZE-FILTER[-FIT][-RULE], such as 32-box; was {name[:80]!r}"
            )
        rule = next((r for r in RULES[1:] if rest.endswith(f"-{r}")), RULES[0])
        rest = rest.removesuffix(f"-{rule}")
        fit = next((f for f in sorted(FITS[1:], key=len)[::-1] if rest.endswith(f"-{f}")), FITS[0])
        variant = cls(int(size), rest.removesuffix(f"-{fit}"), fit, rule)  # type: ignore[arg-type]
        if str(variant) != name:
            raise VariantError(
                f"write {variant}, not {name}: leading zeros and the defaults ({FITS[0]}, "
                f"{RULES[0]}) are not part of a variant's name"
            )
        return variant

    def __lt__(self, other: Variant) -> bool:
        ours, theirs = (
            (v.size, v.filter, FITS.index(v.fit), RULES.index(v.rule)) for v in (self, other)
        )
        return ours < theirs

    def __str__(self) -> str:
        fit = "" if self.fit == FITS[0] else f"-{self.fit}"
        rule = "" if self.rule == RULES[0] else f"-{self.rule}"
        return f"{self.size}-{self.filter}{fit}{rule}"
