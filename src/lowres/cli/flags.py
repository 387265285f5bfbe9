"""Flags for every field of the recipe, which change a recipe that is chosen by its name."""

from __future__ import annotations

from dataclasses import asdict, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import docstring_parser
from cyclopts import Parameter

from lowres.recipe import Recipe, RecipeName, named_recipe


def _given_fields() -> Any:  # noqa: ANN401  a class that only exists while the program runs
    """Make the record of what is given: the fields of `Recipe`, each with its help, or None."""
    documented = docstring_parser.parse_from_object(Recipe).params
    texts = {parameter.arg_name: parameter.description for parameter in documented}
    hints = get_type_hints(Recipe)

    def flag(name: str, default: object) -> Any:  # noqa: ANN401
        shown = None if default is None else lambda _: default
        return Annotated[hints[name] | None, Parameter(help=texts[name], show_default=shown)]

    given = [(field.name, flag(field.name, field.default), None) for field in fields(Recipe)]
    return make_dataclass(
        "GivenFields",
        given,
        frozen=True,
        kw_only=True,
        namespace={"__doc__": "", "__module__": __name__},
    )


if TYPE_CHECKING:
    GivenFields = Any
else:
    GivenFields = _given_fields()

RecipeFields = Annotated[
    GivenFields | None, Parameter(name="*", group="Recipe (defaults are those of paper)")
]


def settled(name: RecipeName | None, given: Any) -> Recipe:  # noqa: ANN401  GivenFields
    """Give the recipe of a name, paper if there is none, with the fields that are given.

    Raises:
        RecipeError: a field is outside its range.
    """
    return replace(named_recipe(name or "paper"), **given_values(given))


def given_values(given: Any) -> dict[str, Any]:  # noqa: ANN401  GivenFields
    """Give the fields that are given, with their values."""
    changes = {} if given is None else asdict(given)
    return {field: value for field, value in changes.items() if value is not None}
