"""JSON records, read by type: what lowres wrote itself is checked as a stranger's file is.

A record is described by a dataclass or a `TypedDict`; msgspec compares the JSON with it and says
which value has which type instead of which. Nothing here knows what a record means.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict, TypeVar

import msgspec

from lowres.errors import LowresError

Kind = TypeVar("Kind")
Record: TypeAlias = dict[str, Any]

PATH, FILE_NAME = r"^[^\x00]+$", r"^(?!\.{1,2}$)[^/\x00]+$"
WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
PATTERNS = {PATH: "a path without null bytes", FILE_NAME: "the name of a file, without slashes"}

LINES = msgspec.json.Decoder(Record)

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e30)]
"""Seconds or multiply-adds, also of a whole study; nothing real is larger, and sums stay finite."""

PathText: TypeAlias = Annotated[str, msgspec.Meta(pattern=PATH)]
FileName: TypeAlias = Annotated[str, msgspec.Meta(pattern=FILE_NAME)]


class StorePlace(TypedDict):
    """Where a store was, and the digest of its contents."""

    path: PathText
    digest: str


class RecordError(ValueError):
    """A record is not JSON, or a value has another type or range; the text says which."""


def decoded(data: bytes | str) -> Record:
    """Decode a JSON object; NaN and infinity are no JSON.

    Raises:
        RecordError: it is no JSON object.
    """
    try:
        return msgspec.json.decode(data, type=Record)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RecordError(_in_words(error)) from error


def decoded_lines(data: bytes) -> list[Record]:
    """Decode a JSON object a line, as `decoded`."""
    try:
        return LINES.decode_lines(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RecordError(_in_words(error)) from error


def typed(record: object, kind: type[Kind]) -> Kind:
    """Return a decoded JSON value as a dataclass or `TypedDict`; other names in it are left out.

    Raises:
        RecordError: a value is missing, or has another type or range.
    """
    try:
        return msgspec.convert(record, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RecordError(_in_words(error)) from error


def read_record(file: Path, kind: type[Any], error: type[LowresError]) -> Record:
    """Read a JSON object that has at least the names and types of a `TypedDict`.

    Args:
        file: the JSON file.
        kind: the `TypedDict`.
        error: raised if the file is missing or damaged.

    Returns:
        All that the file holds, other names included.
    """
    try:
        record = decoded(file.read_bytes())
        typed(record, kind)
        return record
    except FileNotFoundError:
        raise error(f"{file} is missing: restore it, or start again") from None
    except (OSError, RecordError) as reason:
        raise error(f"{file} is damaged: {reason}; remove it and start again") from reason


def _in_words(error: Exception) -> str:
    """Return an error of msgspec as a clause: `splits[...] must be a whole number, was text`."""
    text, _, place = str(error).replace("`", "").partition(" - at ")
    where = place.replace("key in ", "a name in ").replace("$.", "").replace("$", "it") or "it"
    if text == "Input data was truncated":
        return "it is empty or cut short"
    for pattern, words in PATTERNS.items():
        text = text.replace(f"str matching regex {pattern!r}", words)
    if text.startswith("Expected "):
        text = re.sub(rf"\b({'|'.join(WORDS)})\b", lambda word: WORDS[word[0]], text)
        return f"{where} must be {text.removeprefix('Expected ').replace(', got ', ', was ')}"
    text = text.replace("Object missing required field ", "there is no ")
    return f"{where}: {text}" if place else text
