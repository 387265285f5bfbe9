"""Everything that a report shows, computed once: verdicts on pairs and filters, and curves.

Page, Markdown, JSON and charts only show these numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres.report.best import BestRun, best_run
from lowres.report.curves import (
    AnytimeCurve,
    ConfigurationCost,
    FrontStretch,
    LearningCurve,
    ResponseCurve,
    Shift,
    VariantCost,
    anytime_curves,
    costs,
    learning_curves,
    responses,
    shifts,
    spent,
    training_front,
)
from lowres.report.fields import FieldResult, field_results
from lowres.report.pairs import (
    ONLY,
    HalvedSizes,
    JudgedPair,
    halved_sizes,
    judged_pairs,
    main_pair,
)
from lowres.report.reading import Row, fields_but, grouped, label, swept_fields
from lowres.report.targets import TimeToError, of_rows
from lowres.report.without import Without, without_listed
from lowres.statistics import Law, learning_rate_law
from lowres.statistics.law import FEWEST_SIZES
from lowres.study.runs import Damaged
from lowres.study.validation_images import ImageFindings, image_findings
from lowres.text import count
from lowres.training.run import result_line
from lowres.variant import Variant

NOTHING = "No verdict yet: no configuration was finished on two sizes of one filter."


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the runs of a study show.

    Attributes:
        rows: the runs.
        swept: the recipe fields in which they differ.
        pairs: proxies and targets, judged.
        responses: error against learning rate.
        shifts: how far the best learning rate moves.
        learning_curves: error along the training of each variant's best configuration.
        reach: the error of `targets`, a share; None if the user named none.
        targets: how soon each configuration reaches it.
        law: how the best learning rate depends on size and width; None below three sizes.
        costs: cost and error of each configuration.
        anytime: error against the cost of a search.
        front: the least error by each cost along all trainings.
        spent: cost and best error of each variant.
        filters: filters, and values of other fields in words, against each other.
        images: what single validation images say about the pair of the first screen.
        best: the best run, with its worst classes; None if none trained.
        halved: what successive halving over the sizes would have paid and lost; None below four
            configurations.
        without: errors without the images that a file lists; None if the user named no file.
        damaged: runs that are left out, because a file of theirs is damaged or missing.
    """

    rows: list[Row]
    swept: tuple[str, ...]
    pairs: list[JudgedPair]
    responses: list[ResponseCurve]
    shifts: list[Shift]
    learning_curves: list[LearningCurve]
    reach: float | None
    targets: list[TimeToError]
    law: Law | None
    costs: list[ConfigurationCost]
    anytime: list[AnytimeCurve]
    front: list[FrontStretch]
    spent: list[VariantCost]
    filters: list[FieldResult]
    images: ImageFindings | None
    best: BestRun | None
    halved: HalvedSizes | None
    without: Without | None = None
    damaged: Sequence[Damaged] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of all runs, by size."""
        return tuple(dict.fromkeys(row.recipe.variant for row in self.rows))

    @property
    def alone(self) -> BestRun | None:
        """The only run, if it trained: then there is nothing to compare."""
        return self.best if len(self.rows) + len(self.damaged) == 1 else None

    @property
    def reach_text(self) -> str:
        """The error of `targets` as it was typed: `40 %`."""
        return "" if self.reach is None else f"{100 * self.reach:g} %"

    @property
    def summary(self) -> str:
        """The number of runs in each status."""
        runs: list[Row | Damaged] = [*self.rows, *self.damaged]
        counts = Counter(run.state for run in runs)
        listed = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"{count(len(runs), 'run')}: {listed}."

    @property
    def main_sentences(self) -> list[str]:
        """The verdicts in words: on pairs with the largest size, learning rates and filters."""
        return [
            *(pair.sentence for pair in self.pairs if self._is_main(pair)),
            *(() if self.pairs or self.alone or self.filters else [NOTHING]),
            *([result_line(self.alone.row.result)] if self.alone else ()),
            *self.order_sentences,
            *([self.halved.sentence] if self.halved else ()),
            *self.learning_rate_sentences,
            *(comparison.sentence for comparison in self.filters),
            *(self.images.sentences if self.images else ()),
            *(self.best.sentences if self.best else ()),
            *([self.without.sentence] if self.without else ()),
        ]

    @property
    def order_sentences(self) -> list[str]:
        """Whether the order of values in words holds, for the pair of the first screen."""
        pair = main_pair(self.pairs)
        if pair is None:
            return []
        sides = f"From {pair.verdict.proxy} to {pair.verdict.target}"
        return [f"{sides}, {order.sentence()}" for order in pair.verdict.orders]

    @property
    def learning_rate_sentences(self) -> list[str]:
        """How far the best learning rate moves, for each pair of sizes."""
        return [
            *_learning_rate_sentences(self.shifts),
            *([self.law.sentence()] if self.law else []),
        ]

    @property
    def other_sentences(self) -> list[str]:
        """The verdicts on all other pairs: of smaller sizes, and of widths."""
        return [pair.sentence for pair in self.pairs if not self._is_main(pair)]

    def _is_main(self, pair: JudgedPair) -> bool:
        # Pairs are sorted, the largest target first.
        sizes = [Variant.parse(p.verdict.target).size for p in self.pairs if p.kind == "size"]
        return pair.kind == "size" and Variant.parse(pair.verdict.target).size == sizes[0]


def analyse(
    rows: list[Row],
    bearable: float | None = None,
    damaged: Sequence[Damaged] = (),
    study: str = "",
    reach: float | None = None,
    without: Path | None = None,
) -> Analysis:
    """Compute everything that a report shows.

    Args:
        rows: the runs.
        bearable: regret that does not matter, a share; None for the default of `judge`.
        damaged: runs that are shown with their reason, and left out of everything else.
        study: the folder that `lowres decide` can add runs to; empty if it is no study.
        reach: an error, a share; None to ask for none.
        without: a file that lists images, see `without.read_listed`.
    """
    swept = swept_fields(rows)
    curves, points = responses(rows, swept), costs(rows, swept)
    pairs = judged_pairs(rows, swept, bearable, study)
    first, images = main_pair(pairs), None
    if first and first.kind == "size":
        images = _image_findings(rows, swept, first)
    return Analysis(
        rows=rows,
        swept=swept,
        pairs=pairs,
        responses=curves,
        shifts=shifts(curves),
        law=_law(curves),
        learning_curves=learning_curves(rows, swept),
        reach=reach,
        targets=[] if reach is None else of_rows(rows, swept, reach),
        costs=points,
        anytime=anytime_curves(rows),
        front=training_front(rows, swept),
        spent=spent(rows, points),
        filters=field_results(rows, swept),
        damaged=damaged,
        images=images,
        best=best_run(rows, first),
        halved=halved_sizes(rows, swept, first),
        without=None if without is None else without_listed(rows, swept, without),
    )


def _law(curves: Sequence[ResponseCurve]) -> Law | None:
    """Fit the law of the best learning rate; predict it for twice the largest size."""
    known = [(Variant.parse(one.variant).size, one.width, one.optimum)
             for one in curves if one.optimum]  # fmt: skip
    if len({size for size, *_ in known}) < FEWEST_SIZES:
        return None
    sizes, widths, optima = zip(*known, strict=True)
    return learning_rate_law(
        sizes, widths, optima, [(2 * max(sizes), width) for width in sorted(set(widths))]
    )


def _image_findings(
    rows: Sequence[Row], swept: Sequence[str], pair: JudgedPair
) -> ImageFindings | None:
    names, verdict = fields_but(swept, "variant"), pair.verdict
    runs = grouped(
        [row for row in rows if row.finished],
        lambda row: (row.recipe.variant, label(row.recipe, names) or ONLY),
    )
    proxy, target = (
        [runs[side, one] for one in pair.configurations] for side in (verdict.proxy, verdict.target)
    )
    called = "" if verdict.choice is None else pair.configurations[verdict.choice]
    return image_findings((verdict.proxy, verdict.target), proxy, target, verdict.choice, called)


def _learning_rate_sentences(moves: Sequence[Shift]) -> list[str]:
    """Return a sentence for each pair of sizes, over all settings of the other fields."""
    groups: dict[tuple[str, str], list[Shift]] = defaultdict(list)
    for move in moves:
        groups[move.first, move.second].append(move)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)  # sizes of which the same is said
    for (first, second), of in groups.items():
        alike[second, _how_it_moves(of)].append(first)
    return [
        f"Best learning rate from {', '.join(of)} to {second}: {how}"
        for (second, how), of in alike.items()
    ]


def _how_it_moves(moves: Sequence[Shift]) -> str:
    fitted = [move.decades for move in moves if move.decades.value is not None]
    values = sorted(10**figure.value for figure in fitted if figure.value is not None)
    parts = []
    if not values:
        parts.append(f"undecided ({moves[0].decades.reason})")
    elif len(values) == 1 and (interval := fitted[0].interval) is not None:
        ends = f"[{10**interval.low:.2g}, {10**interval.high:.2g}]"
        parts.append(f"moves by a factor of {values[0]:.2g} {ends}")
    else:
        factors = dict.fromkeys((f"{values[0]:.2g}", f"{values[-1]:.2g}"))
        where = (
            f" in {len(fitted)} of {len(moves)} settings" if len(moves) > 1 else " (no interval)"
        )
        parts.append(f"moves by a factor of {' to '.join(factors)}{where}")
    known = [move.overlap for move in moves if move.overlap is not None]
    if known:
        where = f" in {sum(known)} of {len(known)} settings" if len(known) > 1 else ""
        do = f"overlap{where}" if any(known) else "do not overlap"
        parts.append(f"those within a standard error of the best {do}")
    return "; ".join(parts)
