"""Damaged records: one value of a JSON file, or some bytes of any file, changed at random."""

import json
import random
from collections.abc import Iterator

ODD = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.5, 1e308, 1e-308, 10**30, 10**400,
    -(2**70), "", "x", "1", "trained", "../../x", "a\0b", "\x1b[31m", "é", "\u202e", "=1+1",
    "8-box", "99999-box", "9" * 5000,
    "x" * 5000, [], [1], ["x"], [[]], [None], {}, {"x": 1}, {"x": {}}, [1, 2, 3, 4],
)  # fmt: skip
"""Values that take the place of another."""


def damaged(data: bytes, source: random.Random) -> bytes:
    """Return the bytes of a record with one change."""
    if source.random() < 0.15:
        return _bytes_changed(data, source)
    text = data.decode()
    lines = text.splitlines()
    if len(lines) > 1 and all(line.startswith("{") for line in lines):  # metrics.jsonl
        row = source.randrange(len(lines))
        lines[row] = json.dumps(_value_changed(json.loads(lines[row]), source))
        return "\n".join(lines).encode()
    return json.dumps(_value_changed(json.loads(text), source)).encode()


def damaged_array(data: bytes, source: random.Random) -> bytes:
    """Return the bytes of an array with a change in its header, or cut off."""
    start = data.index(b"{")
    header, rest = bytearray(data[: start + 80]), data[start + 80 :]
    kind = source.random()
    if kind < 0.2:
        return data[: source.randrange(len(data))]
    if kind < 0.4:
        words = (
            b"shape",
            b"descr",
            b"True",
            b"False",
            b"|u1",
            b"<i8",
            b"(",
            b")",
            b"'",
            b",",
            b"8",
        )
        old = source.choice([word for word in words if word in header])
        new = source.choice((b"", b"O", b"|O", b"-1", b"((", b"1e9", b"9" * 20, b"lambda:0", b"\0"))
        return bytes(header.replace(old, new, 1)) + rest
    for _ in range(source.choice((1, 1, 2, 5))):
        header[source.randrange(len(header))] = source.randrange(256)
    return bytes(header) + rest


def _bytes_changed(data: bytes, source: random.Random) -> bytes:
    place = source.randrange(len(data))
    kind = source.randrange(5)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([source.randrange(256)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + source.choice((b"[" * 5000, b"\xff\xfe", b"\0", b"NaN", b"}")) + data
    return source.choice((b"", b"[]", b"null", b"3", b'"x"', b"[" * 100_000, b'{"a":' * 100_000))


def _value_changed(record: object, source: random.Random) -> object:
    """Replace, delete or repeat one value, at any depth."""
    places = list(_places(record))
    if not places:
        return source.choice(ODD)
    holder, key = source.choice(places)
    kind = source.random()
    if kind < 0.75:
        holder[key] = source.choice(ODD)
    elif kind < 0.9:
        del holder[key]
    elif isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[source.choice(("x", "", "variant", "lr", "\0"))] = holder[key]
    return record


def _places(value: object) -> Iterator[tuple[object, object]]:
    """Return every list or object in a value, with each index or name in it."""
    keys = range(len(value)) if isinstance(value, list) else value
    for key in keys if isinstance(value, list | dict) else ():
        yield value, key
        yield from _places(value[key])
