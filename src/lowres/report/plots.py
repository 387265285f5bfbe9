"""The figures of a report, as SVG text. Each draws numbers that `tables` computed.

Text stays text, so figures can be searched and read aloud, and nothing in them depends on the
time or on chance: the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lowres.report.tables import Cost, Response, Transfer

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which people with colour blindness tell apart."""

MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lowres",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}

WIDTH_INCHES, HEIGHT_INCHES = 8.0, 4.6


@contextmanager
def _figure(
    width_inches: float = WIDTH_INCHES, height_inches: float = HEIGHT_INCHES
) -> Iterator[tuple[Axes, list[str]]]:
    """Give axes to draw on; afterwards the list holds the SVG text."""
    out: list[str] = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        yield figure.add_subplot(), out
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    out.append(re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1))


def _colours(variants: Sequence[str]) -> dict[str, str]:
    """Give each variant its colour, in order of size; the same in every figure."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(variants))}


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _logarithmic(axes: Axes) -> None:
    """Label a logarithmic x axis with plain numbers at 1, 2 and 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def response_figure(responses: Sequence[Response]) -> str:
    """Draw error against learning rate; bars span the seeds, crosses on top mark divergence."""
    colours = _colours([response.variant for response in responses])
    with _figure() as (axes, out):
        drawn: dict[str, int] = {}
        for response in responses:
            number = drawn[response.variant] = drawn.get(response.variant, -1) + 1
            colour = colours[response.variant]
            points = [
                (lr, s.mean, s.errors) for lr, s in response.points.items() if s.mean is not None
            ]
            axes.errorbar(
                [lr for lr, _, _ in points],
                [100 * mean for _, mean, _ in points],
                yerr=[
                    [100 * (mean - min(errors)) for _, mean, errors in points],
                    [100 * (max(errors) - mean) for _, mean, errors in points],
                ],
                label=response.label,
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                linestyle=LINES[number % len(LINES)],
                capsize=3,
            )
            for lr in (lr for lr, seeds in response.points.items() if seeds.diverged):
                top = axes.get_xaxis_transform()
                axes.plot(lr, 0.98, "x", color=colour, transform=top, clip_on=False)
        _logarithmic(axes)
        axes.set_xlabel("learning rate at the start, per step")
        axes.set_ylabel("top-1 error, %")
        _legend(axes)
    return out[0]


def cost_figure(costs: Sequence[Cost]) -> str:
    """Draw error against training time, with the Pareto front as a line."""
    colours = _colours([cost.variant for cost in costs])
    with _figure() as (axes, out):
        front = sorted((cost.train_s, cost.error) for cost in costs if cost.on_front)
        axes.step(
            [seconds for seconds, _ in front],
            [100 * error for _, error in front],
            where="post",
            color="#777777",
            linewidth=1.5,
            label="Pareto front",
            zorder=1,
        )
        for variant, colour in colours.items():
            points = [cost for cost in costs if cost.variant == variant]
            axes.scatter(
                [cost.train_s for cost in points],
                [100 * cost.error for cost in points],
                s=[60 if cost.on_front else 28 for cost in points],
                color=colour,
                edgecolors=["#222222" if cost.on_front else colour for cost in points],
                label=variant,
                zorder=2,
            )
        _logarithmic(axes)
        axes.set_xlabel("training time of a run, seconds")
        axes.set_ylabel("top-1 error, %")
        _legend(axes)
    return out[0]


def transfer_figure(transfer: Transfer) -> str:
    """Draw target error against proxy error, one point a configuration."""
    with _figure(4.2, 3.2) as (axes, out):
        axes.scatter(
            [100 * error for error in transfer.proxy_errors],
            [100 * error for error in transfer.target_errors],
            color=COLOURS[0],
        )
        axes.set_xlabel(f"top-1 error on {transfer.proxy}, %")
        axes.set_ylabel(f"top-1 error on {transfer.target}, %")
    return out[0]
