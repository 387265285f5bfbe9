"""The plan of a search, and its record `search.json`: what is searched, at which sizes, for what.

A search goes on with the plan that it began with; another plan is another search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from lowres.errors import LowresError, RecipeError, StudyError, VariantError
from lowres.recipe import Recipe
from lowres.study.axes import changed
from lowres.study.search.space import Dimension, Plain, changes, parse_space

FILE_NAME = "search.json"

Sampler = Literal["tpe", "gp", "qmc", "random"]
MAX_SEED = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What is searched, and how.

    Attributes:
        base: what all configurations have in common, at the largest size.
        space: the fields that are searched.
        sizes: of the images, in pixels, rising; a rung each.
        rung_epochs: epochs at each size.
        budget: as much training as this many runs at the largest size, which cost what the mean
            of the space costs there.
        one_in: of each rung, one configuration in so many goes on.
        sampler: which of Optuna's samplers chooses configurations.
        sampler_seed: decides its choices.
        carry_weights: runs above the smallest size begin with the weights of the run below.

    Raises:
        StudyError: a value is outside its range.
        RecipeError, VariantError: one of the recipe's is.
    """

    base: Recipe
    space: tuple[Dimension, ...]
    sizes: tuple[int, ...]
    rung_epochs: tuple[int, ...]
    budget: float
    one_in: int = 3
    sampler: Sampler = "tpe"
    sampler_seed: int = 0
    carry_weights: bool = False

    def __post_init__(self) -> None:
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)):
            raise StudyError(f"--sizes must be different sizes, rising, were {_words(self.sizes)}")
        if len(self.rung_epochs) != len(self.sizes) or min(self.rung_epochs) < 1:
            raise StudyError(
                f"--rung-epochs must be a whole number above 0 for each of the {len(self.sizes)} "
                f"sizes, were {_words(self.rung_epochs)}"
            )
        _check("budget", self.budget, math.isfinite(self.budget) and self.budget > 0, "above 0")
        _check("one-in", self.one_in, self.one_in >= 1, "at least 1")
        listed = ", ".join(get_args(Sampler))
        _check("sampler", self.sampler, self.sampler in get_args(Sampler), f"one of {listed}")
        seed = self.sampler_seed
        _check("sampler-seed", seed, 0 <= seed < MAX_SEED, "at least 0 and below 2^32")
        if self.carry_weights and len(self.sizes) == 1:
            raise StudyError("--carry-weights carries from size to size: give two --sizes or more")
        for size in self.sizes:
            changed(self.base, {"size": size})

    @classmethod
    def make(
        cls,
        base: Recipe,
        space: Sequence[str],
        sizes: Sequence[int],
        rung_epochs: Sequence[int] = (),
        **others: Any,  # noqa: ANN401  fields of the record
    ) -> Self:
        """Make a plan from what a user writes.

        Args:
            base: what all configurations have in common; the size of its variant is not heeded.
            space: as `parse_space` takes it.
            sizes: in any order.
            rung_epochs: epochs at each size, in the order of `sizes`; the recipe's if not given.
            others: further fields.

        Raises:
            StudyError, RecipeError, VariantError: see the class.
        """
        if rung_epochs and len(rung_epochs) != len(sizes):
            raise StudyError(
                f"--rung-epochs must be as many numbers as --sizes, {len(sizes)}, were "
                f"{len(rung_epochs)}"
            )
        pairs = zip(sizes, rung_epochs or [base.epochs] * len(sizes), strict=True)
        rising = sorted(pairs)
        if not rising:
            raise StudyError("a search needs sizes: give --sizes, such as --sizes 8 16 32")
        last = {"size": rising[-1][0], "epochs": rising[-1][1]}
        return cls(
            base=changed(base, last),
            space=parse_space(space),
            sizes=tuple(size for size, _ in rising),
            rung_epochs=tuple(epochs for _, epochs in rising),
            **others,
        )

    def recipe(self, labels: Mapping[str, Plain], rung: int) -> Recipe:
        """Give the recipe of a configuration at a rung.

        Raises:
            StudyError: the configuration is no recipe.
        """
        chosen = changes(self.space, labels)
        fidelity = {"size": self.sizes[rung], "epochs": self.rung_epochs[rung]}
        try:
            return changed(self.base, {**chosen, **fidelity})
        except (RecipeError, VariantError) as error:
            listed = ", ".join(f"{name} {value}" for name, value in chosen.items())
            raise StudyError(f"the space holds {listed}, which is no recipe: {error}") from error

    def to_record(self) -> dict[str, Any]:
        """Give the plan as JSON values."""
        return {
            "base": self.base.to_record(),
            "space": {dimension.name: dimension.spec for dimension in self.space},
            "sizes": list(self.sizes),
            "rung_epochs": list(self.rung_epochs),
            "budget": self.budget,
            "one_in": self.one_in,
            "sampler": self.sampler,
            "sampler_seed": self.sampler_seed,
            "carry_weights": self.carry_weights,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the plan from JSON values.

        Raises:
            LowresError, LookupError, TypeError, AttributeError, ValueError: it is damaged.
        """
        space = [f"{name}={spec}" for name, spec in record["space"].items()]
        others = ("budget", "one_in", "sampler", "sampler_seed", "carry_weights")
        return cls.make(
            Recipe.from_record(record["base"]),
            space,
            record["sizes"],
            record["rung_epochs"],
            **{name: record[name] for name in others},
        )


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a search.

    Raises:
        StudyError: there is none, or it is damaged.
    """
    try:
        found = json.loads((path / FILE_NAME).read_text())
        SearchPlan.from_record(found)
        if not all(isinstance(found["store"][name], str) for name in ("path", "digest")):
            raise TypeError("store of another kind")
        return dict(found)
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{path} is not a search: it has no {FILE_NAME}") from None
    except (OSError, LowresError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise StudyError(f"{path / FILE_NAME} is damaged: {error!r}") from error


def refuse_changes(path: Path, earlier: Mapping[str, Any], plan: SearchPlan, digest: str) -> None:
    """Refuse to go on with another plan than that which was begun.

    Args:
        path: the search's directory.
        earlier: its record.
        plan: what is asked for.
        digest: of the store that is asked for.

    Raises:
        StudyError: naming the first difference.
    """
    elsewhere = "choose another directory with --out"
    if earlier["store"]["digest"] != digest:
        raise StudyError(
            f"search {path} is of another store ({earlier['store']['path']}): {elsewhere}"
        )
    then, now = dict(earlier), plan.to_record()
    for part in ("base", "space"):
        for name in dict.fromkeys([*then[part], *now[part]]):
            was, wanted = then[part].get(name), now[part].get(name)
            if was != wanted:
                _refuse(path, f"{'space ' * (part == 'space')}{name}", was, wanted, elsewhere)
    for name, wanted in now.items():
        if then[name] != wanted:
            _refuse(path, name, then[name], wanted, elsewhere)


def _refuse(path: Path, name: str, was: object, wanted: object, hint: str) -> None:
    raise StudyError(
        f"search {path} was planned with {name} {was}, and this asks for {wanted}: {hint}"
    )


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise StudyError(f"--{name} must be {expected}, was {value}")


def _words(values: Sequence[object]) -> str:
    return " ".join(map(str, values)) or "none"
