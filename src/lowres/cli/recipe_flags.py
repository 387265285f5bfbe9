"""The flags of a recipe, for the verbs that plan runs: train, study, search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Group, Parameter

from lowres.cli.flags import flags_of, given_values
from lowres.recipe import Recipe, RecipeName, named_recipe

if TYPE_CHECKING:
    from lowres.store.store import Store

    RecipeFlags: TypeAlias = Any
else:
    RECIPE_HELP = """The named recipe that the flags below change. paper (the default): every
    decision of the authors' script but three: images are shuffled over all of train and not within
    its ten files, fewer images fill no batch, and devices with bfloat16 use it. paper-strict: these
    three, too. tensorflow-port: those of the same group's port. nas-bench-201: the training of
    that benchmark on ImageNet16-120. fast: the
    lowest error at equal cost that we measured (docs/recipes.md)."""
    RecipeFlags = flags_of(
        Recipe,
        Group("Recipe (defaults are those of paper)", sort_key=3),
        recipe=Annotated[RecipeName | None, Parameter(help=RECIPE_HELP)],
    )


def recipe_of(given: RecipeFlags, store: Store) -> Recipe:
    """Return the named recipe, paper if the user named none, with the fields that the user gave.

    Without --variant, its filter, fit and rule are those of the store, if it has one of each.

    Raises:
        RecipeError: a field is outside its range.
    """
    values = given_values(given)
    return replace(named_recipe(values.pop("recipe", "paper")).on(store.variants), **values)
