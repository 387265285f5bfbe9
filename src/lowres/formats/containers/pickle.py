"""Pickles of plain values and numeric arrays, read without running anything they name.

`pickle.load` runs whatever a file asks for. Here the standard library parses the opcodes
(protocols 0 to 5, of Python 2 and 3). `PlainUnpickler` keeps the opcodes that plain values use, and
answers every name in a file with one of its own methods. Text of Python 2 comes as bytes.

The base is `pickle._Unpickler`, the version in Python: the compiled `pickle.Unpickler` cannot be
bounded from outside. It sets memory aside for a length before it reads, fills a table up to any
number of LONG_BINPUT, hashes any key, and takes registered extensions from a cache without a call
of `find_class`.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, AnyStr, NoReturn

import numpy as np

from lowres.errors import SourceError
from lowres.formats.containers.streams import read_bytearray, read_exactly

MAX_READS = 20_000_000
"""Each opcode takes one to three reads. A batch of ImageNet has 130,000 opcodes, one a label."""

MAX_NESTING = 64
MAX_LINE_BYTES = 1 << 32
FAR_BYTES = 1 << 48
"""No string or axis of a real file is as long, and seeking beyond it fails."""

KEPT = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL INST REDUCE BUILD"
)
"""Opcodes of plain values, by the names in CPython's `Lib/pickle.py`."""

STUBS = {
    "numpy.core.multiarray._reconstruct": "new_array",
    "numpy.core.numeric._frombuffer": "array_from_buffer",
    "numpy.core.multiarray.scalar": "scalar",
    "numpy.ndarray": "array_type",
    "numpy.dtype": "new_dtype",
    "_codecs.encode": "encode",
    "builtins.bytes": "new_bytes",
    "builtins.bytearray": "new_bytearray",
}
"""The method that stands for each name that plain values are pickled with (NumPy's
`_core/src/multiarray/methods.c`, CPython's `Lib/pickle.py`)."""

RENAMED = {"numpy._core": "numpy.core", "__builtin__": "builtins"}
"""Names of NumPy 2 and Python 2."""

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""NumPy's codes of the booleans, integers and floats that are the same on every machine."""

BYTE_ORDERS = ("<", ">", "|", "=")
"""How a dtype's state writes its byte order, in text or, by Python 2, in bytes."""

LATIN = ("latin1", "latin-1", b"latin1", b"latin-1")


@dataclass(frozen=True, slots=True)
class SkippedBytes:
    """A long string that was not read; `count` is None if only decoding could show it."""

    count: int | None


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array whose bytes were not read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(slots=True, eq=False)
class NewDtype:
    """A dtype; its state, the byte order, follows."""

    value: np.dtype[Any]


@dataclass(slots=True, eq=False)
class NewArray:
    """An array; its state, shape and bytes, follows."""

    value: np.ndarray[Any, Any] | SkippedArray | None = None


SINGLE = (type(None), bool, int, float, str, bytes)
LEAVES = (*SINGLE, bytearray, np.ndarray, SkippedBytes, SkippedArray)


def load_plain(stream: IO[bytes], where: str, *, skip_above: int | None = None) -> object:
    """Read one pickle of plain values, and nothing behind it.

    An array uses the very bytes that were read, and may be read-only. Reading goes by single
    bytes, so the stream should be buffered.

    Args:
        stream: read from where it stands; with `skip_above` it must be able to seek.
        where: the file, and member, for messages.
        skip_above: longer strings come as `SkippedBytes` or `SkippedArray`, if above 255 bytes.

    Returns:
        None, bool, int, float, str, bytes, bytearray, list, tuple, dict (its keys are no tuples),
        or an array or scalar of booleans, integers or floats.

    Raises:
        SourceError: the pickle is damaged, or asks for anything else; nothing was run.
        OSError: the stream cannot be read.
    """
    unpickler = PlainUnpickler(_Bounded(stream, where), skip_above)
    try:
        return _checked(unpickler.load(), where)
    except SourceError:
        raise
    except (
        pickle.UnpicklingError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
        struct.error,
        Warning,  # of unknown escapes, where warnings are errors
    ) as error:
        raise SourceError(
            f"{where} is no whole pickle of plain values ({str(error)[:200]}); "
            "fetch or write it again"
        ) from error
    finally:
        unpickler.memo.clear()  # it refers to the unpickler, so arrays would outlive their use


class _Bounded:
    """A stream that never returns less than was asked for, and counts.

    Attributes:
        copyable: bytes that may still be copied. Each byte read may be copied twice: text into
            bytes, and these into a bytearray.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self.stream = stream
        self.where = where
        self.copyable = 0
        self.reads_left = MAX_READS

    def read(self, count: int) -> bytes:
        self.count(count)
        return read_exactly(self.stream, count, self.where)

    def readline(self) -> bytes:
        line = self.stream.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise SourceError(
                f"{self.where} is damaged: it has a line without an end; fetch or write it again"
            )
        self.count(len(line))
        return line

    def count(self, size: int) -> None:
        self.copyable += 2 * size
        self.reads_left -= 1
        if self.reads_left < 0:
            raise _refusal(self.where, "holds too many values")


def _refusal(where: str, what: str) -> SourceError:
    return SourceError(f"{where} {what}: lowres refuses it, and nothing was run")


class _Memo(dict[int, Any]):
    """What a pickle remembers by number; a `NewArray` with its state is the array itself."""

    def __getitem__(self, place: int) -> object:
        value = super().__getitem__(place)
        finished = isinstance(value, NewArray) and value.value is not None
        return value.value if finished else value


class _Opcodes(dict[int, Callable[[Any], None]]):
    """The method of each opcode, by its byte; every other opcode is refused."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        def refuse(reader: PlainUnpickler) -> NoReturn:
            known = [opcode.name for opcode in pickletools.opcodes if ord(opcode.code) == code]
            if known:
                raise reader.refusal(f"has {known[0]}, which makes no plain value")
            raise SourceError(
                f"{reader.file.where} is no pickle, or damaged: {bytes([code])!r} is no opcode; "
                "fetch or write it again"
            )

        return refuse


def _string(
    length: str, kind: type[bytes] | type[bytearray] | type[str]
) -> Callable[[PlainUnpickler], None]:
    """Make the method that reads a string whose length comes first, as struct's `length`."""
    form = struct.Struct(length)

    def load(reader: PlainUnpickler) -> None:
        (count,) = form.unpack(reader.file.read(form.size))
        if not 0 <= count <= FAR_BYTES:
            raise SourceError(f"{reader.file.where} is damaged: it has a string of {count:,} bytes")
        value: object
        if reader.skip_above is not None and count > reader.skip_above:
            reader.file.stream.seek(count, 1)
            value = SkippedBytes(None if kind is str else count)
        elif kind is bytearray:
            reader.file.count(count)
            value = read_bytearray(reader.file.stream, count, reader.file.where)
        else:
            data = reader.file.read(count)
            value = str(data, "utf-8", "surrogatepass") if kind is str else data
        reader.stack.append(value)

    return load


class PlainUnpickler(pickle._Unpickler):
    """Reads a pickle; names in it become bound methods of this, which are all that it calls."""

    dispatch = _Opcodes()
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: _Bounded, skip_above: int | None) -> None:
        super().__init__(file, encoding="bytes")
        self.file = file
        self.skip_above = skip_above
        self.memo = _Memo()

    def refusal(self, what: str) -> SourceError:
        """Make the error for what a plain pickle never has."""
        return _refusal(self.file.where, what)

    def find_class(self, module: str, name: str) -> object:
        for new, old in RENAMED.items():
            if module == new or module.startswith(f"{new}."):
                module = old + module[len(new) :]
        stub = STUBS.get(f"{module}.{name}")
        if stub is None:
            shown = ascii(f"{module[:50]}.{name[:50]}")[1:-1]
            raise self.refusal(f"names {shown}, which is no plain value")
        return getattr(self, stub)

    # Opcodes that the standard library would do less carefully

    def load_frame(self) -> None:
        self.file.read(8)  # a length that only says how much to read ahead

    def set_items(self, items: Sequence[Any]) -> None:
        """Put keys and values, in turn, into the dict on top of the stack."""
        target = self.stack[-1]
        if type(target) is not dict:
            raise TypeError("an item for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in SINGLE:  # a tuple of tuples can take for ever to be hashed
                raise self.refusal(f"has a key that is a {type(key).__name__}, not text or number")
            target[key] = value

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        match target, state:
            case NewDtype(), (3, str() | bytes() as order, None, None, None, *_):
                text = order.decode("latin-1") if isinstance(order, bytes) else order
                if text not in BYTE_ORDERS:
                    raise self.refusal("has a dtype with no byte order")
                target.value = np.dtype(text + target.value.str[1:])
            case NewArray(), (1, tuple(shape), NewDtype(value=dtype), int(fortran), data):
                target.value = self.array(data, dtype, shape, "F" if fortran else "C")
                self.stack[-1] = target.value
            case _:
                raise self.refusal("has a state for what is no plain value")

    # Stubs: what the names in a plain pickle do, for the arguments that NumPy and Python write

    def array_type(self, *_: object) -> NoReturn:
        raise self.refusal("calls ndarray, which makes no plain value")

    def new_array(self, kind: object, *_: object) -> NewArray:
        if kind != self.array_type:
            raise self.refusal("makes an array of another type")
        return NewArray()

    def array_from_buffer(
        self, data: object, dtype: object, shape: object, order: object, axes: object = None
    ) -> object:
        match dtype, shape, order, axes:
            case NewDtype(value=known), tuple(sides), "C" | "F" as given, None:
                return self.array(data, known, sides, given)
            case NewDtype(value=known), tuple(sides), "K", tuple(listed):
                return self.array(data, known, sides, "C", listed)
        raise self.refusal("makes an array of no plain values")

    def scalar(self, dtype: object, data: object) -> object:
        if not isinstance(dtype, NewDtype) or not isinstance(data, bytes):
            raise self.refusal("makes a number of no plain values")
        return np.asarray(self.array(data, dtype.value, (), "C"))[()]

    def new_dtype(self, code: object, *_: object) -> NewDtype:
        if not isinstance(code, str | bytes):
            raise self.refusal("has a dtype without a name")
        name = code.decode("latin-1") if isinstance(code, bytes) else code
        if name not in DTYPES:
            raise self.refusal(
                f"has an array of dtype {name[:20]!a}, which is neither boolean nor integer nor "
                "float"
            )
        return NewDtype(np.dtype(name))

    def encode(self, text: object, encoding: object) -> object:
        if isinstance(text, SkippedBytes):
            return SkippedBytes(None)
        if not isinstance(text, str) or encoding not in LATIN:
            raise self.refusal("calls encode for no Latin-1 text")
        return self.copied(text).encode("latin-1")

    def new_bytes(self, data: object = b"", *encoding: object) -> object:
        if encoding or isinstance(data, SkippedBytes):
            return self.encode(data, *encoding)
        if not isinstance(data, bytes):
            raise self.refusal("makes bytes of what is no string")
        return data

    def new_bytearray(self, data: object = b"", *encoding: object) -> object:
        if isinstance(data, SkippedBytes):
            return data
        plain = self.new_bytes(data, *encoding)
        return bytearray(self.copied(plain)) if isinstance(plain, bytes) else plain

    def copied(self, string: AnyStr) -> AnyStr:
        """Let a string be copied, unless all copies outgrow the bytes that were read."""
        self.file.copyable -= len(string)
        if self.file.copyable < 0:
            raise self.refusal("makes longer strings than it holds")
        return string

    def array(
        self,
        data: object,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        order: str,
        axes: Sequence[int] | None = None,
    ) -> np.ndarray[Any, Any] | SkippedArray:
        """Make an array of the bytes themselves."""
        sides = [side for side in shape if type(side) is int and 0 <= side < FAR_BYTES]
        if len(sides) < len(shape) or len(shape) > MAX_NESTING:
            raise self.refusal("has an array whose shape is no shape")
        needed = math.prod(shape) * dtype.itemsize
        if not isinstance(data, bytes | bytearray | SkippedBytes):
            raise self.refusal(f"has an array made of {type(data).__name__}, not of bytes")
        has = data.count if isinstance(data, SkippedBytes) else len(data)
        if has is not None and has != needed:
            raise SourceError(
                f"{self.file.where} is damaged: it has an array of {needed:,} bytes and {has:,} "
                "bytes for it"
            )
        if isinstance(data, SkippedBytes):
            return SkippedArray(tuple(shape[axis] for axis in axes) if axes else shape, dtype)
        flat = np.ndarray(shape, dtype, data, order="F" if order == "F" else "C")
        return flat if axes is None else flat.transpose(axes)


for _name in KEPT.split():
    _code = getattr(pickle, _name)[0]
    PlainUnpickler.dispatch[_code] = pickle._Unpickler.dispatch[_code]
PlainUnpickler.dispatch |= {
    pickle.FRAME[0]: PlainUnpickler.load_frame,
    pickle.SETITEM[0]: lambda reader: reader.set_items([reader.stack.pop(-2), reader.stack.pop()]),
    pickle.SETITEMS[0]: lambda reader: reader.set_items(reader.pop_mark()),
    pickle.DICT[0]: PlainUnpickler.load_dict,
    pickle.BUILD[0]: PlainUnpickler.load_build,
    pickle.BINSTRING[0]: _string("<i", bytes),
    pickle.BINBYTES[0]: _string("<I", bytes),
    pickle.BINBYTES8[0]: _string("<Q", bytes),
    pickle.BYTEARRAY8[0]: _string("<Q", bytearray),
    pickle.BINUNICODE[0]: _string("<I", str),
    pickle.BINUNICODE8[0]: _string("<Q", str),
}


def _checked(value: object, where: str) -> object:
    """Return a value if it is plain all through, and nested less than `MAX_NESTING` deep."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        inner: dict[int, Any] = {}  # each container once, however often it is shared
        for each in level:
            if type(each) in (list, tuple, dict):
                parts = each.values() if type(each) is dict else each
                inner.update((id(part), part) for part in parts if type(part) not in SINGLE)
            elif not isinstance(each, np.generic) and type(each) not in LEAVES:
                raise _refusal(where, "holds what is no plain value")
        if not inner:
            return value
        level = list(inner.values())
    raise _refusal(where, f"is nested more than {MAX_NESTING} deep")
