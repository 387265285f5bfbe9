"""A variant: a size, a filter, a fit and a rule, named like `32-box` or `64-lanczos-crop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, get_args

from lowres.errors import VariantError, nearest

Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The six filters of Pillow that the paper compares, by Pillow's names in lower case."""

Fit = Literal["squash", "crop", "resize-crop"]
"""How a rectangle becomes a square: squashed whole, as the paper does; cut to the centre square and
then resized; or resized until its shorter side fits, and then cut."""

Rule = Literal["pillow", "release-2017"]
"""The exact arithmetic: Pillow's from 7.0 on, or that of Pillow 3.4.2 to 4.1.1, which made the
released ImageNet8/16/32/64 (docs/resampling.md)."""

FILTERS: tuple[Filter, ...] = get_args(Filter)
FITS: tuple[Fit, ...] = get_args(Fit)
RULES: tuple[Rule, ...] = get_args(Rule)
MAX_SIZE_PX = 1024


@dataclass(frozen=True, slots=True)
class Variant:
    """One small-pixel rendering of a set: squares of `size` pixels made with `filter`.

    Its name leaves out the fit `squash` and the rule `pillow`. Variants sort by size, filter, fit
    and rule, the usual fit and rule first.

    Attributes:
        size: side of the square in pixels, 1 to 1024.
        filter: one of the six filters.
        fit: how a rectangle becomes a square.
        rule: the exact arithmetic.

    Raises:
        VariantError: a size, filter, fit or rule outside these.
    """

    size: int
    filter: Filter
    fit: Fit = "squash"
    rule: Rule = "pillow"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE_PX:
            raise VariantError(f"size must be 1 to {MAX_SIZE_PX} pixels, was {self.size}")
        _check("filter", self.filter, FILTERS)
        _check("fit", self.fit, FITS)
        _check("rule", self.rule, RULES)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name such as `32-box`, `64-lanczos-crop` or `32-box-release-2017`.

        Raises:
            VariantError: the name is not of that form.
        """
        size, dash, rest = name.partition("-")
        if not dash or not size.isascii() or not size.isdigit():
            raise VariantError(
                f"a variant is named SIZE-FILTER[-FIT][-RULE], such as 32-box; was {name!r}"
            )
        rule = next((r for r in RULES[1:] if rest.endswith(f"-{r}")), RULES[0])
        rest = rest.removesuffix(f"-{rule}")
        fit = next((f for f in sorted(FITS[1:], key=len)[::-1] if rest.endswith(f"-{f}")), FITS[0])
        variant = cls(int(size), rest.removesuffix(f"-{fit}"), fit, rule)  # type: ignore[arg-type]
        if str(variant) != name:
            raise VariantError(f"a variant's name leaves out what is usual: {variant}, not {name}")
        return variant

    def __lt__(self, other: Variant) -> bool:
        return self._place() < other._place()

    def _place(self) -> tuple[int, str, int, int]:
        return self.size, self.filter, FITS.index(self.fit), RULES.index(self.rule)

    def __str__(self) -> str:
        fit = "" if self.fit == FITS[0] else f"-{self.fit}"
        rule = "" if self.rule == RULES[0] else f"-{self.rule}"
        return f"{self.size}-{self.filter}{fit}{rule}"


def _check(part: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        hint = nearest(str(value), known)
        raise VariantError(
            f"{part} must be one of {', '.join(known)}, was {value!r}; {hint}".rstrip("; ")
        )
