"""Pickles that hold only plain values and numeric arrays, read without calling anything.

`pickle.load` runs whatever a file asks for. This is a reader of its own: it walks the opcodes
(protocols 0 to 5, of Python 2 and 3; CPython's `Lib/pickletools.py` describes them) and builds
dicts, lists, tuples, text, bytes, numbers and arrays itself. Text of Python 2 comes as bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from lowres.errors import SourceError
from lowres.formats.containers.plain_values import MAX_NESTING, ArrayInMaking, Builder, SkippedBytes
from lowres.formats.containers.streams import cut_short, read_bytearray, read_exactly

MAX_OPCODES = 20_000_000
"""A batch of ImageNet has about 130,000, one for each label."""

MAX_LINE_BYTES = 1 << 32
MAX_NUMBER_BYTES = 1024
FAR_BYTES = 1 << 48
"""No string of a real file is as long, and seeking beyond it fails."""

REFUSED = {
    b"P": "PERSID",
    b"Q": "BINPERSID",
    b"o": "OBJ",
    b"\x81": "NEWOBJ",
    b"\x92": "NEWOBJ_EX",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x8f": "EMPTY_SET",
    b"\x90": "ADDITEMS",
    b"\x91": "FROZENSET",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}
"""Opcodes that plain values never have."""

CONSTANTS: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None,
    b"\x88": lambda: True,
    b"\x89": lambda: False,
    b"]": list,
    b"}": dict,
    b")": tuple,
}

BYTE, SHORT, INT, COUNT, LONG, DOUBLE = map(struct.Struct, ("<B", "<H", "<i", "<I", "<Q", ">d"))
NUMBERS = {b"K": BYTE, b"M": SHORT, b"J": INT, b"G": DOUBLE}
PUTS = {b"q": BYTE, b"r": COUNT}
GETS = {b"h": BYTE, b"j": COUNT}

ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}
"""What `repr` of Python 2 escapes, besides bytes in hexadecimal."""


def load_plain(stream: BinaryIO, where: str, *, skip_above: int | None = None) -> Any:  # noqa: ANN401
    """Read one pickle of plain values; what follows it is left alone.

    An array is made of the very bytes that were read, and may be read-only. Reading goes by single
    bytes, so the stream should be buffered.

    Args:
        stream: read from where it stands; with `skip_above` it must be able to seek.
        where: the file, and member, for messages.
        skip_above: strings of more bytes than this are skipped, and come as `SkippedBytes` and
            `SkippedArray`.

    Returns:
        None, bool, int, float, str, bytes, bytearray, list, tuple, dict (its keys are no tuples),
        or an array or scalar of booleans, integers or floats.

    Raises:
        SourceError: the pickle is damaged, or asks for anything else; nothing was run.
        OSError: the stream cannot be read.
    """
    try:
        return _Machine(stream, where, skip_above).run()
    except SourceError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            f"{where} is no whole pickle of plain values ({str(error)[:200]}); "
            "fetch or write it again"
        ) from error


class _Machine:
    """The state of one reading: the stack, the stacks below its marks, and the memo."""

    def __init__(self, stream: BinaryIO, where: str, skip_above: int | None) -> None:
        self.stream = stream
        self.where = where
        self.skip_above = skip_above
        self.builder = Builder(where)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:  # noqa: ANN401
        for _ in range(MAX_OPCODES):
            opcode = self.stream.read(1)
            if opcode in NUMBERS:
                self.stack.append(self.number(NUMBERS[opcode]))
            elif opcode in CONSTANTS:
                self.stack.append(CONSTANTS[opcode]())
            elif opcode in PUTS:
                self.memo[self.number(PUTS[opcode])] = self.stack[-1]
            elif opcode in GETS:
                self.get(self.number(GETS[opcode]))
            elif opcode in OTHERS:
                OTHERS[opcode](self)
            elif opcode == b".":
                return self.builder.checked(self.stack.pop())
            else:
                raise self.unknown(opcode)
        raise self.builder.refusal(f"holds more than {MAX_OPCODES:,} values")

    def unknown(self, opcode: bytes) -> SourceError:
        if not opcode:
            return cut_short(self.where, 1)
        if opcode in REFUSED:
            return self.builder.refusal(f"has {REFUSED[opcode]}, which makes no plain value")
        return SourceError(
            f"{self.where} is no pickle, or damaged: {opcode!r} is no opcode; fetch or write it "
            "again"
        )

    def damaged(self, what: str) -> SourceError:
        return SourceError(f"{self.where} is damaged: it has {what}; fetch or write it again")

    # Numbers and strings

    def number(self, form: struct.Struct) -> Any:  # noqa: ANN401
        data = self.stream.read(form.size)
        if len(data) < form.size:
            raise cut_short(self.where, form.size - len(data))
        return form.unpack(data)[0]

    def line(self, limit: int = MAX_NUMBER_BYTES) -> bytes:
        line = self.stream.readline(limit)
        if not line.endswith(b"\n"):
            raise self.damaged("a line without an end")
        return line[:-1]

    def int_line(self) -> None:
        text = self.line()
        self.stack.append(text == b"01" if text in (b"00", b"01") else int(text))

    def long_line(self) -> None:
        self.stack.append(int(self.line().removesuffix(b"L")))

    def float_line(self) -> None:
        self.stack.append(float(self.line()))

    def long(self, form: struct.Struct) -> None:
        count = self.number(form)
        if not 0 <= count <= MAX_NUMBER_BYTES:
            raise self.damaged(f"an integer of {count:,} bytes")
        data = read_exactly(self.stream, count, self.where)
        self.stack.append(int.from_bytes(data, "little", signed=True))

    def string(self, form: struct.Struct, kind: type[Any]) -> None:
        count = self.number(form)
        if not 0 <= count <= FAR_BYTES:
            raise self.damaged(f"a string of {count:,} bytes")
        self.builder.has_read(count)
        if self.skip_above is not None and count > self.skip_above:
            self.stream.seek(count, 1)
            self.stack.append(SkippedBytes(None if kind is str else count))
        elif kind is bytearray:
            self.stack.append(read_bytearray(self.stream, count, self.where))
        else:
            data = read_exactly(self.stream, count, self.where)
            self.stack.append(data if kind is bytes else data.decode("utf-8", "surrogatepass"))

    def quoted_line(self) -> None:
        line = self.line(MAX_LINE_BYTES)
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise self.damaged("a string without quotes")
        self.builder.has_read(len(line))
        self.stack.append(re.sub(rb"(?s)\\(x..|.|$)", _unescaped, line[1:-1]))

    def text_line(self) -> None:
        line = self.line(MAX_LINE_BYTES)
        self.builder.has_read(len(line))
        self.stack.append(line.decode("raw-unicode-escape"))

    # Memo and containers

    def get(self, place: int) -> None:
        value = self.memo[place]
        if isinstance(value, ArrayInMaking) and value.value is not None:
            value = value.value
        self.stack.append(value)

    def get_line(self) -> None:
        self.get(int(self.line()))

    def put_line(self) -> None:
        self.memo[int(self.line())] = self.stack[-1]

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def mark(self) -> None:
        if len(self.below) == MAX_NESTING:
            raise self.builder.refusal(f"is nested more than {MAX_NESTING} deep")
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def pop_mark(self) -> None:
        self.since_mark()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def collected(self, kind: type[Any]) -> None:
        values = self.since_mark()
        self.stack.append(kind(values))

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise self.damaged("a tuple of more than there is")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def dict_since_mark(self) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.set(items)

    def append(self) -> None:
        self.extend([self.stack.pop()])

    def extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise self.damaged("an item for what is no list")
        self.stack[-1].extend(values)

    def set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set([key, value])

    def set(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise self.damaged("an item for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.builder.key(key)
            self.stack[-1][key] = value

    # Globals

    def global_line(self) -> None:
        module, name = self.line(), self.line()
        found = self.builder.named(module.decode("latin-1"), name.decode("latin-1"))
        self.stack.append(found)

    def global_of_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise self.damaged("a name that is no text")
        self.stack.append(self.builder.named(module, name))

    def instance(self) -> None:
        self.global_line()
        raise self.builder.refusal("has INST, which makes no plain value")

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple:
            raise self.damaged("a call whose arguments are no tuple")
        self.stack.append(self.builder.called(function, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1] = self.builder.built(self.stack[-1], state)

    def protocol(self) -> None:
        protocol = self.number(BYTE)
        if protocol > 5:
            raise SourceError(f"{self.where} is a pickle of protocol {protocol}, newer than 5")

    def frame(self) -> None:
        self.number(LONG)  # only says how much to read ahead


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes.fromhex(code[1:].decode("ascii")) if len(code) == 3 else ESCAPES[code]


OTHERS: dict[bytes, Callable[[_Machine], None]] = {
    b"I": _Machine.int_line,
    b"L": _Machine.long_line,
    b"F": _Machine.float_line,
    b"\x8a": partial(_Machine.long, form=BYTE),
    b"\x8b": partial(_Machine.long, form=INT),
    b"S": _Machine.quoted_line,
    b"V": _Machine.text_line,
    b"U": partial(_Machine.string, form=BYTE, kind=bytes),
    b"T": partial(_Machine.string, form=INT, kind=bytes),
    b"C": partial(_Machine.string, form=BYTE, kind=bytes),
    b"B": partial(_Machine.string, form=COUNT, kind=bytes),
    b"\x8e": partial(_Machine.string, form=LONG, kind=bytes),
    b"\x96": partial(_Machine.string, form=LONG, kind=bytearray),
    b"\x8c": partial(_Machine.string, form=BYTE, kind=str),
    b"X": partial(_Machine.string, form=COUNT, kind=str),
    b"\x8d": partial(_Machine.string, form=LONG, kind=str),
    b"p": _Machine.put_line,
    b"g": _Machine.get_line,
    b"\x94": _Machine.memoize,
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": _Machine.duplicate,
    b"t": partial(_Machine.collected, kind=tuple),
    b"l": partial(_Machine.collected, kind=list),
    b"\x85": partial(_Machine.tuple_of, count=1),
    b"\x86": partial(_Machine.tuple_of, count=2),
    b"\x87": partial(_Machine.tuple_of, count=3),
    b"d": _Machine.dict_since_mark,
    b"a": _Machine.append,
    b"e": lambda machine: machine.extend(machine.since_mark()),
    b"s": _Machine.set_one,
    b"u": lambda machine: machine.set(machine.since_mark()),
    b"c": _Machine.global_line,
    b"\x93": _Machine.global_of_stack,
    b"i": _Machine.instance,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
}
"""What each other opcode of plain values does."""
