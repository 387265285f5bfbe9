"""A function named in text, with arguments: `package.module:function(width=2, arch='|a~0|')`.

Arguments are literals of Python: numbers, texts, truth values, None, and tuples, lists and
dictionaries of these. `ast.literal_eval` reads them, so nothing in a text is computed or run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

BRACKETS = {"(": ")", "[": "]", "{": "}"}
QUOTES = "'\""
CODE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""`package.module:function`."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its named arguments.

    Attributes:
        name: what stands before the bracket.
        arguments: by name.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME` or `NAME(argument=literal, ...)`.

        Raises:
            ValueError: it has another form; the text says what is wrong.
        """
        name, bracket, rest = text.partition("(")
        if not bracket:
            return cls(name)
        form = f"must be written NAME(argument=value, ...), was {text!r}"
        try:
            called = ast.parse(f"f({rest}", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(form) from error
        if not isinstance(called, ast.Call) or not isinstance(called.func, ast.Name):
            raise ValueError(form)
        names = [one.arg for one in called.keywords]
        if len(set(names)) < len(names):
            raise ValueError(f"must have each argument once, was {text!r}")
        if called.args or any(one.arg is None for one in called.keywords):
            raise ValueError(f"must have a name for each argument, such as width=2, was {text!r}")
        try:
            return cls(name, {str(one.arg): ast.literal_eval(one.value) for one in called.keywords})
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"must have plain values as arguments, was {text!r}") from error

    @property
    def names_code(self) -> bool:
        """Whether the name is `package.module:function`."""
        return bool(CODE.fullmatch(self.name))

    def __str__(self) -> str:
        """Return the one spelling that stands for all: blanks and quotes are those of Python."""
        listed = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({listed})" if listed else self.name


def one_spelling(text: str) -> str:
    """Return a text without quotes around it; a call as recipes write it, any other text as it is.

    `"torch.optim:AdamW(betas=(0.9,0.95))"` becomes `torch.optim:AdamW(betas=(0.9, 0.95))`.
    """
    [text, *more] = split_at_commas(text)
    if more or ":" not in text or not text.endswith(")"):
        return ",".join([text, *more])
    try:
        return str(Call.parse(text))
    except ValueError:
        return text


def split_at_commas(text: str) -> list[str]:
    """Split a text at commas that stand in no bracket and in no quotes.

    Blanks around a part go, and so do quotes around a whole part: `"f(a=1, b=2)", g` has two parts.
    """
    parts = [part.strip() for part in _parts(text)]
    return [
        part[1:-1]
        if len(part) > 1 and part[0] in QUOTES and part.find(part[0], 1) == len(part) - 1
        else part
        for part in parts
    ]


def _parts(text: str) -> Iterator[str]:
    begin, quote, closing = 0, "", list[str]()
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES and (closing or text[begin:place].strip()[-1:] in ("", "=")):
            quote = character  # an apostrophe inside a word is none
        elif character in BRACKETS:
            closing.append(BRACKETS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
