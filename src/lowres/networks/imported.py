"""`package.module:function` in a recipe: code that is imported by its name, if you trust it.

A recipe in a file may be a stranger's, and to import a module is to run it. So a process imports
only what `trust` has named to it: the command line passes the names in its flags and in `--trust`.
Nothing else can add a name, whatever a file says. Optimizers of `torch.optim` need no trust.
Arguments in the text, `package.module:function(depth=3)`, are literals: who trusts a function
trusts it with any of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from lowres.call import CODE, Call
from lowres.errors import RunError, UntrustedError
from lowres.recipe import Recipe

INSTALLED: dict[str, tuple[str, ...]] = {
    "model": ("timm:",),
    "optimizer": ("torch.optim:",),
    "schedule": (),
}
"""Fields that may name code; names that begin so run an installed library, not a stranger's."""

_trusted: set[str] = set()


def trust(*names: str) -> None:
    """Allow this process to import and call functions that a recipe may name.

    Args:
        names: each `package.module:function`, as recipes write them; arguments in brackets do not
            matter.

    Raises:
        RunError: a name has another form.
    """
    for name in names:
        function = _function(name) if name.endswith(")") else name
        if not CODE.fullmatch(function):
            raise RunError(f"a name to trust must be package.module:function, was {name!r}")
        _trusted.add(function)


def trust_given(values: Iterable[tuple[str, object]]) -> None:
    """Trust the code that the user named in flags: pairs of a recipe field and its value.

    Raises:
        RunError: as `trust`.
    """
    trust(*(_function(str(v)) for field, v in values if _needs_trust(field, str(v))))


def code_of(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Return the functions of foreign code in recipes, each with the field that names it."""
    return {
        _function(getattr(recipe, field)): field
        for recipe in recipes
        for field in INSTALLED
        if _needs_trust(field, getattr(recipe, field))
    }


def _needs_trust(field: str, name: str) -> bool:
    return field in INSTALLED and ":" in name and not name.startswith(INSTALLED[field])


def _function(text: str) -> str:
    """Return a name of code without its arguments."""
    return text.partition("(")[0]


def refuse_untrusted(recipes: Iterable[Recipe]) -> None:
    """Refuse recipes with code that nobody trusted; import nothing.

    Raises:
        UntrustedError: a name was not passed to `trust`.
    """
    unknown = {name: field for name, field in code_of(recipes).items() if name not in _trusted}
    if unknown:
        raise UntrustedError(unknown)


def trust_flags(recipes: Iterable[Recipe]) -> tuple[str, ...]:
    """Return the flags that pass this process's trust in the code of recipes to `lowres train`."""
    names = [name for name in code_of(recipes) if name in _trusted]
    return ("--trust", ",".join(names)) if names else ()


def imported(specification: str, field: str) -> Callable[..., Any]:
    """Import the function that a field of a recipe names; the working directory is searched too.

    Args:
        specification: `package.module:function`; arguments behind it are bound to the function.
        field: name of the field, for the message.

    Raises:
        UntrustedError: the name was not passed to `trust`.
        RunError: the module does not exist, cannot be imported, or has no such function.
    """
    call = Call.parse(specification)
    if _needs_trust(field, specification) and call.name not in _trusted:
        raise UntrustedError({call.name: field})
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


def check_named(recipes: Iterable[Recipe]) -> None:
    """Import the functions that recipes name, so that a typo fails before anything is written.

    Raises:
        UntrustedError, RunError: as `imported`.
    """
    used = {(field, getattr(recipe, field)) for recipe in recipes for field in INSTALLED}
    for field, name in sorted(used):
        if ":" in name and not name.startswith("timm:"):
            imported(name, field)
