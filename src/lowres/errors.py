"""Every error that lowres raises on purpose.

All of them inherit from `LowresError`, and from the built-in that fits::

    LowresError
    ├── SourceError        (ValueError)    a source cannot be read as labelled images
    │   └── ImageError   (ValueError)    one image cannot be decoded
    ├── VariantError       (ValueError)    a size or filter that does not exist
    ├── StoreError         (ValueError)    a store is missing, unfinished, foreign or damaged
    │   └── StoreBusyError (ValueError)    another process is building or writing it
    ├── RecipeError        (ValueError)    a training decision outside its range
    ├── RunError           (RuntimeError)  a run cannot be started or continued
    │   └── RunBusyError   (RuntimeError)  another process is training it
    ├── StudyError         (ValueError)    a study's plan or directory does not fit
    └── MissingExtraError  (ImportError)   an optional dependency is not installed
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

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
    """Another process is building the store, or writing what is to be written."""


class RecipeError(LowresError, ValueError):
    """A training decision is outside its range."""


class RunError(LowresError, RuntimeError):
    """A run cannot be started or continued."""


class RunBusyError(RunError):
    """Another process is training the run."""


class StudyError(LowresError, ValueError):
    """A study's plan or directory does not fit."""


class MissingExtraError(LowresError, ImportError):
    """An optional dependency is not installed; the text holds the command that installs it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: name of the module to import, such as `torch`.
        extra: the extra of lowres that brings it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs {module}, which is not installed: pip install 'lowres[{extra}]'"
        ) from error


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "did you mean X?" for the nearest known word, or `otherwise` if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=NEAR)
    return f"did you mean {near[0]}?" if near else otherwise
