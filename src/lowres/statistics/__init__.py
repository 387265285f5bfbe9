"""How far a proxy stands in for a target: plain functions on arrays of errors.

Errors are `(configurations, seeds)` float64, shares from 0 to 1, +inf for a run that diverged and
nan for one that is missing. Every interval is of 95 %; docs/statistics.md says what each figure
estimates and how often its interval contains that. Results are frozen records for
`dataclasses.asdict`. If a figure cannot be estimated, it is None and `reason` says why. This
package needs SciPy.
"""

from lowres.statistics.answers import FieldVerdict
from lowres.statistics.cost import Curve, Traces, anytime, best_by, pareto_front
from lowres.statistics.error_tables import Figure, Interval, Pair, mean_errors, pair_up
from lowres.statistics.finite_images import (
    ClassTransfer,
    ImageNoise,
    class_transfer,
    image_covariance,
    image_noise,
)
from lowres.statistics.halving import Halving, halving
from lowres.statistics.law import Law, learning_rate_law
from lowres.statistics.optimum import Optimum, Region, optimum, overlap, region, shift
from lowres.statistics.order import ValueOrder
from lowres.statistics.paired import Comparison, Difference, compare_values
from lowres.statistics.power import chances_of_an_answer, power
from lowres.statistics.ranking import ceiling, rank_correlation
from lowres.statistics.verdict import Shortlist, Verdict, judge

__all__ = [
    "ClassTransfer",
    "Comparison",
    "Curve",
    "Difference",
    "FieldVerdict",
    "Figure",
    "Halving",
    "ImageNoise",
    "Interval",
    "Law",
    "Optimum",
    "Pair",
    "Region",
    "Shortlist",
    "Traces",
    "ValueOrder",
    "Verdict",
    "anytime",
    "best_by",
    "ceiling",
    "chances_of_an_answer",
    "class_transfer",
    "compare_values",
    "halving",
    "image_covariance",
    "image_noise",
    "judge",
    "learning_rate_law",
    "mean_errors",
    "optimum",
    "overlap",
    "pair_up",
    "pareto_front",
    "power",
    "rank_correlation",
    "region",
    "shift",
]
