"""Every error that lowres raises on purpose, and the words for missing extras and misspellings.

All errors inherit from `LowresError`, and from the built-in that fits::

    LowresError
    ├── SourceError        (ValueError)    a source cannot be read as labelled images
    │   └── ImageError     (ValueError)    one image cannot be decoded
    ├── VariantError       (ValueError)    a size or filter that does not exist
    ├── StoreError         (ValueError)    a store is missing, unfinished, foreign or damaged
    │   └── StoreBusyError (ValueError)    another process is building or writing it
    ├── RecipeError        (ValueError)    a training decision outside its range
    ├── RunError           (RuntimeError)  a run cannot be started or resumed
    │   ├── RunBusyError   (RuntimeError)  another process is training it
    │   └── UntrustedError (RuntimeError)  a recipe names code that you did not trust
    ├── StudyError         (ValueError)    a study's plan or directory does not fit
    └── MissingExtraError  (ImportError)   an optional dependency is not installed
"""

from __future__ import annotations

import difflib
import importlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

NEAR = 0.65
"""Similarity by `difflib` from which a word is a misspelling: bea of bee, but quiet not of fit."""


class LowresError(Exception):
    """Base of all errors that lowres raises on purpose; its text is meant for the user."""


class SourceError(LowresError, ValueError):
    """A source cannot be read as labelled images."""


class ImageError(SourceError):
    """One image cannot be decoded; the text is the reason alone, without its path."""


class VariantError(LowresError, ValueError):
    """A variant name, size or filter that does not exist."""


class StoreError(LowresError, ValueError):
    """A store is missing, unfinished, foreign or damaged."""


class StoreBusyError(StoreError):
    """Another process is building the store, or writing to the same destination."""


class RecipeError(LowresError, ValueError):
    """A training decision is outside its range."""


class RunError(LowresError, RuntimeError):
    """A run cannot be started or resumed."""


class RunBusyError(RunError):
    """Another process is training the run."""


class UntrustedError(RunError):
    """A recipe names code that the user did not trust, so nothing was imported.

    Attributes:
        names: each `package.module:function`.
        fact: what would be run, without what to do about it.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Describe the code that recipes name: the field of each name."""
        self.names = tuple(fields)
        calls = (
            f"{field} {name} (import {name.partition(':')[0]}, call {name.partition(':')[2]})"
            for name, field in fields.items()
        )
        self.fact = f"the recipe would run code that you have not trusted: {', '.join(calls)}"
        asked = ", ".join(map(repr, self.names))
        super().__init__(f"{self.fact}; if you trust it, call lowres.trust({asked}) first")


class StudyError(LowresError, ValueError):
    """A study's plan or directory does not fit."""


class MissingExtraError(LowresError, ImportError):
    """An optional dependency is not installed; the text holds the command that installs it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: name of the module to import, such as `torch`.
        extra: the extra of lowres that installs it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs {module}, which is not installed; run: {install_command(extra)}"
        ) from error


def reason(error: BaseException) -> str:
    """Return why something failed, in words and without a path."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def install_command(extra: str) -> str:
    """Return the shell command that adds an extra to lowres from where lowres was installed.

    An installer records that place in `direct_url.json` (PEP 610), unless it was an index.
    """
    from importlib import metadata

    origin: dict[str, Any] = {}
    options = []
    source = Path(__file__).resolve().parents[2]
    try:
        origin = json.loads(metadata.distribution("lowres").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        if (source / "pyproject.toml").is_file():
            origin = {"url": source.as_uri(), "dir_info": {"editable": True}}
    if "dir_info" in origin:
        options = ["-e"] if origin["dir_info"].get("editable") else []
        wanted = f"{unquote(urlsplit(origin['url']).path)}[{extra}]"
    elif origin:
        version_control = origin.get("vcs_info")
        url = origin["url"]
        if version_control:
            url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
        wanted = f"lowres[{extra}] @ {url}"
    else:
        wanted = f"lowres[{extra}]"
    return shlex.join(["pip", "install", *options, wanted])


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "did you mean X?" for the nearest known word, or `otherwise` if none is near."""
    plain = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lstrip("-"), plain, n=1, cutoff=NEAR)
    return f"did you mean {plain[near[0]]}?" if near else otherwise
