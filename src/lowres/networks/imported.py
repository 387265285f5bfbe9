"""`package.module:function` in a recipe: your own code, imported by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from lowres.call import Call
from lowres.errors import RunError


def imported(specification: str, field: str) -> Callable[..., Any]:
    """Import the function that a field of a recipe names; the working directory is searched too.

    Args:
        specification: `package.module:function`; arguments behind it are bound to the function.
        field: name of the field, for the message.

    Raises:
        RunError: the module does not exist, cannot be imported, or has no such function.
    """
    call = Call.parse(specification)
    module_name, _, name = call.name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that it cannot hide an installed module
    try:
        found = import_module(module_name)
    except Exception as error:
        raise RunError(
            f"{field} {specification}: module {module_name} cannot be imported from {here} or "
            f"PYTHONPATH ({type(error).__name__}: {error})"
        ) from error
    function: Callable[..., Any] | None = getattr(found, name, None)
    if not callable(function):
        names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
        raise RunError(
            f"{field} {specification}: {module_name} has no function {name!r}; it has "
            f"{', '.join(names) or 'none'}"
        )
    return partial(function, **call.arguments) if call.arguments else function


def check_named(model: str, optimizer: str, schedule: str) -> None:
    """Import the functions that a recipe names, so that a typo fails before anything is written.

    Raises:
        RunError: as `imported`.
    """
    for field, value in (("model", model), ("optimizer", optimizer), ("schedule", schedule)):
        if ":" in value and not value.startswith("timm:"):
            imported(value, field)
