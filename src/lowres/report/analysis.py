"""All numbers of a report, computed once: page, Markdown, JSON and figures only show them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lowres.report.cost import Anytime, Cost, Spent, anytime_curves, costs, spent
from lowres.report.filters import Filters, filter_comparisons
from lowres.report.learning_rates import Response, Shift, responses, shifts
from lowres.report.reading import Row, swept_fields
from lowres.report.transfer import Judged, judged_pairs
from lowres.variant import Variant

NOTHING = "Nothing can be said yet: no configuration was finished on two sizes of one filter."


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the runs of a study say.

    Attributes:
        rows: the runs.
        swept: the recipe fields in which they differ.
        pairs: proxies and targets, judged.
        responses: error against learning rate.
        shifts: how far the best learning rate moves.
        costs: each configuration's cost and error.
        anytime: error against the cost of a search.
        spent: cost and best error of each variant.
        filters: filters against each other.
    """

    rows: list[Row]
    swept: tuple[str, ...]
    pairs: list[Judged]
    responses: list[Response]
    shifts: list[Shift]
    costs: list[Cost]
    anytime: list[Anytime]
    spent: list[Spent]
    filters: list[Filters]

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of all runs, by size."""
        return tuple(dict.fromkeys(row.recipe.variant for row in self.rows))

    @property
    def summary(self) -> str:
        """How many runs there are, and how they stand."""
        counts = Counter(row.status for row in self.rows)
        runs = f"{len(self.rows)} run{'' if len(self.rows) == 1 else 's'}"
        return f"{runs}: {', '.join(f'{count} {status}' for status, count in counts.items())}."

    @property
    def main_sentences(self) -> list[str]:
        """The verdicts in words: on pairs with the largest size, learning rates and filters."""
        return [
            *(pair.verdict.sentence for pair in self.pairs if self._is_main(pair)),
            *_about_learning_rates(self.shifts),
            *(comparison.sentence for comparison in self.filters),
        ] or [NOTHING]

    @property
    def other_sentences(self) -> list[str]:
        """The verdicts on all other pairs: of smaller sizes, and of widths."""
        return [pair.verdict.sentence for pair in self.pairs if not self._is_main(pair)]

    def _is_main(self, pair: Judged) -> bool:
        # Pairs are sorted, the largest target first.
        sizes = [Variant.parse(p.verdict.target).size for p in self.pairs if p.kind == "size"]
        return pair.kind == "size" and Variant.parse(pair.verdict.target).size == sizes[0]


def analyse(rows: list[Row]) -> Analysis:
    """Compute everything that a report shows."""
    swept = swept_fields(rows)
    curves, points = responses(rows, swept), costs(rows, swept)
    return Analysis(
        rows=rows,
        swept=swept,
        pairs=judged_pairs(rows, swept),
        responses=curves,
        shifts=shifts(curves),
        costs=points,
        anytime=anytime_curves(rows),
        spent=spent(rows, points),
        filters=filter_comparisons(rows, swept),
    )


def _about_learning_rates(moves: Sequence[Shift]) -> list[str]:
    """Join the settings of each pair of sizes to a sentence."""
    groups: dict[tuple[str, str], list[Shift]] = defaultdict(list)
    for move in moves:
        groups[move.first, move.second].append(move)
    return [_about_pair(first, second, of) for (first, second), of in groups.items()]


def _about_pair(first: str, second: str, moves: Sequence[Shift]) -> str:
    opening = f"Best learning rate from {first} to {second}"
    told = [move.decades for move in moves if move.decades.value is not None]
    parts = []
    if len(told) == 1 and told[0].interval is not None:
        low, high = (_factor(end) for end in (told[0].interval.low, told[0].interval.high))
        parts.append(f"moves by a factor of {_factor(told[0].value)} [{low}, {high}]")
    elif told:
        values = sorted(figure.value for figure in told if figure.value is not None)
        ends = dict.fromkeys((_factor(values[0]), _factor(values[-1])))
        where = f" in {len(told)} of {len(moves)} settings" if len(moves) > 1 else " (no interval)"
        parts.append(f"moves by a factor of {' to '.join(ends)}{where}")
    else:
        parts.append(f"cannot tell: {moves[0].decades.reason}")
    known = [move.overlap for move in moves if move.overlap is not None]
    if known:
        where = f" in {sum(known)} of {len(known)} settings" if len(known) > 1 else ""
        do = "overlap" if any(known) else "do not overlap"
        parts.append(f"those within a standard error of the best {do}{where if any(known) else ''}")
    return f"{opening}: {'; '.join(parts)}"


def _factor(decades: float | None) -> str:
    return "?" if decades is None else f"{10**decades:.2g}"
