"""How the best learning rate depends on size and width: a law from three sizes on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowres.errors import StudyError, require
from lowres.statistics.error_tables import TAILS, Figure, Interval
from lowres.statistics.optimum import Optimum
from lowres.text import count

special = require("scipy.special", "study")

FEWEST_SIZES = 3
"""Sizes with a fitted optimum from which a law is fitted: two sizes fit any law."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best learning rate that the law predicts.

    Attributes:
        size: side of the images in pixels.
        width: of the network.
        lr: the best learning rate.
        interval: its 95 % interval, if the law holds there.
        extrapolated: whether the size is outside those that the law was fitted to.
    """

    size: float
    width: float
    lr: float
    interval: Interval
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Law:
    """log10 of the best learning rate = a + b log2 size + c log2 width.

    Attributes:
        a: the constant; None if there is no law, for the reason in `reason`.
        by_size: b, decades of learning rate for each doubling of the size.
        by_width: c, decades for each doubling of the width; None where the width does not vary.
        curves: how many fitted optima it is from.
        sizes: their sizes, rising.
        predictions: for what was asked.
        reason: why there is no law; empty where there is one.
        left_out: the curves without a fitted optimum, and what would give them one, in words;
            empty if there are none.
    """

    a: float | None
    by_size: Figure | None
    by_width: Figure | None
    curves: int
    sizes: tuple[float, ...]
    predictions: tuple[Prediction, ...]
    reason: str = ""
    left_out: str = ""

    def sentence(self) -> str:
        """Return the law in words, with its predictions."""
        if self.a is None or self.by_size is None:
            return f"No law of the learning rate: {self.reason}. {self.left_out}".rstrip()
        parts = []
        for what, figure in (("size", self.by_size), ("width", self.by_width)):
            if figure and figure.value is not None and figure.interval:
                low, high = 10**figure.interval.low, 10**figure.interval.high
                parts.append(
                    f"if the {what} doubles, the best learning rate is {10**figure.value:.2g} "
                    f"[{low:.2g}, {high:.2g}] times as large"
                )
        for one in self.predictions:
            of_width = f" width {one.width:g}" if self.by_width else ""
            beyond = ", extrapolated" if one.extrapolated else ""
            low, high = one.interval.low, one.interval.high
            between = f"{one.lr:.2g} [{low:.2g}, {high:.2g}]"
            parts.append(f"at {one.size:g} px{of_width} it would be {between}{beyond}")
        curves = count(self.curves, "curve")
        said = f"From {curves} of {self.sizes[0]:g} to {self.sizes[-1]:g} px: {'; '.join(parts)}."
        return f"{said} {self.left_out}".rstrip()


def learning_rate_law(
    sizes: Sequence[float],
    widths: Sequence[float],
    optima: Sequence[Optimum],
    wanted: Sequence[tuple[float, float]] = (),
) -> Law:
    """Fit the law to the optima of several curves, by least squares.

    Each optimum counts by the width of its interval. If optima scatter about the law more than
    their intervals explain, all intervals of the law grow by as much. The law is an assumption: a
    prediction far from the fitted sizes can be wrong by more than its interval.

    Args:
        sizes: of each curve, in pixels, above 0.
        widths: of each curve, above 0.
        optima: the optimum of each curve; those without an interval are left out.
        wanted: sizes and widths to predict the best learning rate for.

    Raises:
        StudyError: the arguments do not fit.
    """
    if not len(sizes) == len(widths) == len(optima):
        raise StudyError(
            f"a law needs a size and a width for each curve, had {len(sizes)}, {len(widths)} and "
            f"{len(optima)} curves"
        )
    known = [
        (float(size), float(width), math.log10(one.lr), one.interval)
        for size, width, one in zip(sizes, widths, optima, strict=True)
        if one.lr is not None and one.interval is not None
    ]
    left_out = _left_out(sizes, widths, optima)
    of_sizes = tuple(sorted({size for size, *_ in known}))
    if len(of_sizes) < FEWEST_SIZES:
        reason = (
            f"a law needs a fitted optimum with an interval at {FEWEST_SIZES} sizes, and "
            f"{len(of_sizes)} of {len(set(sizes))} have one"
        )
        return Law(None, None, None, len(known), of_sizes, (), reason, left_out)
    several = len({width for _, width, *_ in known}) > 1

    def terms(size: float, width: float) -> list[float]:
        return [1.0, math.log2(size), *([math.log2(width)] if several else [])]

    z = float(special.ndtri(TAILS[1]))
    x = np.array([terms(size, width) for size, width, *_ in known])
    y = np.array([rate for _, _, rate, _ in known])
    deviation = np.array([math.log10(found.high / found.low) / (2 * z) for *_, found in known])
    weighted = x / deviation[:, None]
    if np.linalg.matrix_rank(weighted) < x.shape[1]:
        reason = "size and width vary together, so that their effects cannot be separated"
        return Law(None, None, None, len(known), of_sizes, (), reason, left_out)
    covariance = np.linalg.inv(weighted.T @ weighted)
    fitted = covariance @ weighted.T @ (y / deviation)
    freedom = len(y) - x.shape[1]
    left = float((((y - x @ fitted) / deviation) ** 2).sum())
    reach = z
    if freedom and left > freedom:  # the deviation itself is then estimated
        reach = float(special.stdtrit(freedom, TAILS[1])) * math.sqrt(left / freedom)

    def figure(place: int) -> Figure:
        value, width = float(fitted[place]), reach * math.sqrt(covariance[place, place])
        return Figure(value, Interval(value - width, value + width))

    predictions = []
    for size, width in wanted:
        at = np.array(terms(size, width))
        value, spread = float(at @ fitted), reach * math.sqrt(float(at @ covariance @ at))
        found = Interval(10 ** (value - spread), 10 ** (value + spread))
        outside = not of_sizes[0] <= size <= of_sizes[-1]
        predictions.append(Prediction(size, width, 10**value, found, outside))
    return Law(
        float(fitted[0]),
        figure(1),
        figure(2) if several else None,
        len(known),
        of_sizes,
        tuple(predictions),
        left_out=left_out,
    )


def _left_out(sizes: Sequence[float], widths: Sequence[float], optima: Sequence[Optimum]) -> str:
    """Return which curves have no interval, with the reason of each and what would help."""
    several, by_reason, edge = len(set(widths)) > 1, defaultdict[str, list[str]](list), False
    for size, width, one in zip(sizes, widths, optima, strict=True):
        if one.lr is None or one.interval is None:
            name = f"{size:g} px width {width:g}" if several else f"{size:g} px"
            by_reason[one.reason].append(name)
            edge = edge or one.at_edge
    if not by_reason:
        return ""
    listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
    helps = "More seeds and further rates help" if edge else "More seeds help"
    return f"Left out: {listed}. {helps}."
