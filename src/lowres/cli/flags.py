"""Flags: made from records, where a field is a flag and its docstring is the help; and some types.

A record such as `Recipe` states types, defaults and meaning once. `flags_of` turns it into what
cyclopts reads, and `given_values` returns what the user gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

import docstring_parser
from cyclopts import Group, Parameter, Token, convert

from lowres.errors import LowresError, StudyError

ALIASES = {"workers": "-j", "jobs": "-j"}
"""Short forms of fields, whatever their record."""


def local_path(_hint: object, tokens: Sequence[Token]) -> Path:
    """Return the path that the user wrote; refuse a URL, which `Path` would turn into a path.

    Raises:
        LowresError: it is a URL.
    """
    text = tokens[0].value
    if "://" in text:
        raise LowresError(
            f"{text} is a URL, and this must be a path on a local or mounted disk; only the SOURCE "
            "of lowres build and info may be a URL (docs/formats.md)"
        )
    return Path(text)


def source_path(_hint: object, tokens: Sequence[Token]) -> Path:
    """Return the path or URL that the user wrote, as a path; `url_of` returns the URL again."""
    return Path(tokens[0].value)


def comma_values(hint: Any, tokens: Sequence[Token]) -> Any:  # noqa: ANN401  of the hint's type
    """Convert the values of a list flag, which are separated by blanks, commas or both.

    A comma before a blank or after an equals sign is part of the text: `"tench, Tinca tinca"` is
    one class name, and `lr=0.1,0.2` one range of a search. An empty text is an empty list.
    """
    single = [
        token.evolve(value=value)
        for token in tokens
        for value in ([token.value] if "=" in token.value else SEPARATOR.split(token.value))
        if value
    ]
    return convert(hint, single) if single else ()


SEPARATOR = re.compile(r",(?!\s)")
LocalPath: TypeAlias = Annotated[Path, Parameter(converter=local_path)]
SourcePath: TypeAlias = Annotated[Path, Parameter(converter=source_path)]
Output = Parameter(name=("--out", "-o"), converter=local_path)
Commas = Parameter(converter=comma_values)
"""Annotates a list flag that takes both `8 16` and `8,16`."""
Quiet: TypeAlias = Annotated[
    bool,
    Parameter(name=("--quiet", "-q"), help="Show no progress, only results, notes and errors."),
]

Trusted: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--trust",
        converter=comma_values,
        help="Code that a recipe in a file may import and run: package.module:function, as the "
        "refusal lists it. What you name in other flags is trusted without it.",
    ),
]


def flags_of(record: type, group: Group, *, without: Collection[str] = (), **more: Any) -> Any:  # noqa: ANN401
    """Make the annotation of a parameter that takes a flag for each field of a record.

    The command gets an object with the fields that the user gave; all others are None.

    Args:
        record: a dataclass with a docstring for each field.
        group: title and place of the flags in the help.
        without: fields that become no flags.
        more: further flags, which come first, by name: their annotation.
    """
    records = [one for one in reversed(record.__mro__) if is_dataclass(one)]
    documented = [p for one in records for p in docstring_parser.parse_from_object(one).params]
    texts = {one.arg_name: str(one.description) for one in documented}
    hints = get_type_hints(record)
    given: list[tuple[str, Any, None]] = [(name, hint, None) for name, hint in more.items()]
    for field in fields(record):
        if field.name in without:
            continue
        hint, default = hints[field.name], field.default
        hidden = default is None or default is False or default == () or default is MISSING
        text = ",".join(map(str, default)) if isinstance(default, tuple) else default
        shown: Any = None if hidden else partial(lambda value, _: value, text)
        flag = Parameter(
            help=texts[field.name].replace("`", ""),
            show_default=shown,
            alias=ALIASES.get(field.name),
            converter=comma_values if get_origin(hint) is tuple else None,
            negative=f"--no-{field.name.replace('_', '-')}" if default is True else None,
        )
        if any(get_origin(part) is Callable for part in get_args(hint)):
            hint = str  # a flag takes the name of a function
        given.append((field.name, Annotated[hint | None, flag], None))
    names = {"__doc__": "", "__module__": __name__}
    made = make_dataclass("Given", given, frozen=True, kw_only=True, namespace=names)
    return Annotated[made | None, Parameter(name="*", group=group)]


def given_values(given: Any) -> dict[str, Any]:  # noqa: ANN401  of any record
    """Return the fields that the user gave, with their values."""
    changes = {} if given is None else asdict(given)
    return {field: value for field, value in changes.items() if value is not None}


def share_of_points(points: float | None, flag: str) -> float | None:
    """Return points of error, as users write them, as a share from 0 to 1.

    Raises:
        StudyError: they are not from 0 to 100.
    """
    if points is not None and not 0 <= points <= 100:
        raise StudyError(f"{flag} must be from 0 to 100 points of error, was {points:g}")
    return None if points is None else points / 100
