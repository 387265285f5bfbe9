"""Flags made from records: a field of a record is a flag, and its docstring is the help.

A record such as `Recipe` states types, defaults and meaning once. `flags_of` turns it into what
cyclopts reads, and `given_values` returns what the user gave.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, fields, make_dataclass, replace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import docstring_parser
from cyclopts import Parameter, convert

from lowres.recipe import Recipe, RecipeName, named_recipe

ALIASES = {"workers": "-j", "jobs": "-j"}
"""Short forms of fields, whatever their record."""


def split_at_commas(hint: Any, tokens: Sequence[Any]) -> Any:  # noqa: ANN401  cyclopts' types
    """Convert the values of a list flag, which are separated by blanks, commas or both.

    A comma before a blank is part of the text: `"tench, Tinca tinca"` is one class name.
    """
    single = [
        token.evolve(value=value)
        for token in tokens
        for value in re.split(r",(?!\s)", token.value.strip(","))
    ]
    return convert(hint, single)


Commas = Parameter(converter=split_at_commas)
"""Annotates a list flag that takes both `8 16` and `8,16`."""


def flags_of(
    record: type,
    group: str,
    *,
    without: Collection[str] = (),
    **more: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401  an annotation of a parameter
    """Make the annotation of a parameter that takes a flag for each field of a record.

    The command gets an object with the fields that the user gave; all others are None.

    Args:
        record: a dataclass with a docstring for each field.
        group: title of the flags in the help.
        without: fields that become no flags.
        more: further flags, by name: their annotation.
    """
    documented = docstring_parser.parse_from_object(record).params
    texts = {parameter.arg_name: parameter.description for parameter in documented}
    hints = get_type_hints(record)
    given: list[tuple[str, Any, None]] = [
        (name, annotation, None) for name, annotation in more.items()
    ]
    for field in fields(record):
        if field.name in without:
            continue
        hint = _one_type(hints[field.name])
        unset = field.default is None or field.default is False or field.default == ()
        flag = Parameter(
            help=texts[field.name],
            show_default=None if unset else _show(field.default),
            alias=ALIASES.get(field.name),
            converter=split_at_commas if get_origin(hint) is tuple else None,
            negative=() if field.default is False else None,
        )
        given.append((field.name, Annotated[hint | None, flag], None))
    names = {"__doc__": "", "__module__": __name__}
    made = make_dataclass("Given", given, frozen=True, kw_only=True, namespace=names)
    return Annotated[made | None, Parameter(name="*", group=group)]


def _show(value: object) -> Callable[[object], object]:
    return lambda _: value


def _one_type(hint: Any) -> Any:  # noqa: ANN401
    """Return `tuple[X, ...]` for a field that takes one X or several, any other hint unchanged."""
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            if isinstance(origin := get_origin(part), type) and issubclass(origin, Sequence):
                return types.GenericAlias(tuple, (get_args(part)[0], ...))
    return hint


def given_values(given: Any) -> dict[str, Any]:  # noqa: ANN401  of any record
    """Return the fields that the user gave, with their values."""
    changes = {} if given is None else asdict(given)
    return {field: value for field, value in changes.items() if value is not None}


if TYPE_CHECKING:
    RecipeFields: TypeAlias = Any
else:
    RecipeFields = flags_of(Recipe, "Recipe (defaults are those of paper)")


def settled(name: RecipeName | None, given: Any) -> Recipe:  # noqa: ANN401  RecipeFields
    """Return the recipe of a name, paper if there is none, with the fields that the user gave.

    Raises:
        RecipeError: a field is outside its range.
    """
    return replace(named_recipe(name or "paper"), **given_values(given))
