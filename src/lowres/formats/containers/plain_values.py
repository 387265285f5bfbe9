"""What a plain pickle may name and build: text, bytes, and NumPy arrays of numbers.

The globals are words here and are never imported; what each would do when called is done by hand,
for the few arguments that NumPy and Python themselves write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, AnyStr, Literal

import numpy as np

from lowres.errors import SourceError

MAX_NESTING = 64


class Known(Enum):
    """A global that plain pickles name."""

    RECONSTRUCT = auto()
    FROM_BUFFER = auto()
    SCALAR = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()
    BYTEARRAY = auto()


GLOBALS = {
    "numpy.core.multiarray._reconstruct": Known.RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": Known.RECONSTRUCT,
    "numpy.core.numeric._frombuffer": Known.FROM_BUFFER,
    "numpy._core.numeric._frombuffer": Known.FROM_BUFFER,
    "numpy.core.multiarray.scalar": Known.SCALAR,
    "numpy._core.multiarray.scalar": Known.SCALAR,
    "numpy.ndarray": Known.NDARRAY,
    "numpy.dtype": Known.DTYPE,
    "_codecs.encode": Known.ENCODE,
    "builtins.bytes": Known.BYTES,
    "__builtin__.bytes": Known.BYTES,
    "builtins.bytearray": Known.BYTEARRAY,
    "__builtin__.bytearray": Known.BYTEARRAY,
}
"""All that plain values are pickled with, by NumPy 1 and 2 and by every protocol of Python 2 and 3
(NumPy's `_core/src/multiarray/methods.c`, CPython's `Lib/pickle.py`)."""

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""NumPy's codes of the booleans, integers and floats that are the same on every machine."""

BYTE_ORDERS: dict[str | bytes, Literal["<", ">", "|", "="]] = {
    "<": "<",
    b"<": "<",
    ">": ">",
    b">": ">",
    "|": "|",
    b"|": "|",
    "=": "=",
    b"=": "=",
}
"""How a dtype's state writes its byte order, in text or, by Python 2, in bytes."""

LATIN = ("latin1", "latin-1", b"latin1", b"latin-1")


@dataclass(frozen=True, slots=True)
class SkippedBytes:
    """A long string that was not read; `count` is None where only a recoding would tell it."""

    count: int | None


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array whose bytes were not read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(slots=True, eq=False)
class DtypeInMaking:
    """A dtype, whose byte order comes later."""

    value: np.dtype[Any]


@dataclass(slots=True, eq=False)
class ArrayInMaking:
    """An array to be, whose shape and bytes come later."""

    value: np.ndarray[Any, Any] | SkippedArray | None = None


SINGLE = (type(None), bool, int, float, str, bytes)
LEAVES = (*SINGLE, bytearray, np.ndarray, SkippedBytes, SkippedArray)


class Builder:
    """Does by hand what plain pickles ask for.

    Args:
        where: the file, and member, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._copyable = 0

    def refusal(self, what: str) -> SourceError:
        """Make the error for what a plain pickle never has."""
        return SourceError(f"{self.where} {what}; refused, nothing was run")

    def named(self, module: str, name: str) -> Known:
        """Look up a global.

        Raises:
            SourceError: it is not one of `GLOBALS`.
        """
        known = GLOBALS.get(f"{module}.{name}")
        if known is None:
            shown = ascii(f"{module[:50]}.{name[:50]}")[1:-1]
            raise self.refusal(f"names {shown}, which is no plain value")
        return known

    def has_read(self, count: int) -> None:
        """Count the bytes of strings read.

        Each may be copied twice: text into bytes, and these into a bytearray.
        """
        self._copyable += 2 * count

    def called(self, function: object, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Give what calling a global would, for the arguments that plain values have.

        Raises:
            SourceError: for all others.
        """
        match function, *arguments:
            case Known.RECONSTRUCT, Known.NDARRAY, tuple(), bytes() | str():
                return ArrayInMaking()
            case Known.FROM_BUFFER, data, DtypeInMaking(value=dtype), tuple(shape), "C" | "F" as o:
                return self.array(data, dtype, shape, o)
            case Known.FROM_BUFFER, data, DtypeInMaking(value=dtype), tuple(shape), "K", axes:
                return self.array(data, dtype, shape, "C", axes)
            case Known.SCALAR, DtypeInMaking(value=dtype), bytes(data):
                return np.asarray(self.array(data, dtype, (), "C"))[()]
            case Known.DTYPE, str() | bytes() as code, *_:
                return self.dtype(code)
            case Known.ENCODE, SkippedBytes(), _:
                return SkippedBytes(None)
            case Known.ENCODE, str(text), encoding if encoding in LATIN:
                return self.copied(text).encode("latin-1")
            case ((Known.BYTES | Known.BYTEARRAY), *rest):
                return self.string(rest, bytes if function is Known.BYTES else bytearray)
        name = function.name if isinstance(function, Known) else type(function).__name__
        raise self.refusal(f"calls {name} for what is no plain value")

    def string(
        self, arguments: Sequence[Any], kind: type[bytes] | type[bytearray]
    ) -> bytes | bytearray | SkippedBytes:
        """Give bytes or a bytearray of their arguments."""
        match arguments:
            case []:
                return kind()
            case [SkippedBytes() as skipped, *_]:
                return skipped
            case [bytes(data)]:
                return kind(self.copied(data))
            case [str(text), encoding] if encoding in LATIN:
                return kind(self.copied(text).encode("latin-1"))
        raise self.refusal("makes bytes of what is no string")

    def copied(self, string: AnyStr) -> AnyStr:
        """Let a string be copied, unless all copies outgrow the strings that were read."""
        self._copyable -= len(string)
        if self._copyable < 0:
            raise self.refusal("makes longer strings than it holds")
        return string

    def dtype(self, code: str | bytes) -> DtypeInMaking:
        """Give a dtype by NumPy's code of it."""
        name = code.decode("latin-1") if isinstance(code, bytes) else code
        if name not in DTYPES:
            raise self.refusal(
                f"has an array of dtype {name[:20]!a}, which is neither boolean nor integer "
                "nor float"
            )
        return DtypeInMaking(np.dtype(name))

    def built(self, target: object, state: object) -> object:
        """Give a dtype or array its state, and give back what it has become.

        Raises:
            SourceError: anything else is given a state, or a state is not NumPy's.
        """
        match target, state:
            case DtypeInMaking(), (3, str() | bytes() as order, None, None, None, *_):
                if order not in BYTE_ORDERS:
                    raise self.refusal("has a dtype with no byte order")
                target.value = target.value.newbyteorder(BYTE_ORDERS[order])
                return target
            case ArrayInMaking(), (1, tuple(shape), DtypeInMaking(value=dtype), int(fortran), data):
                target.value = self.array(data, dtype, shape, "F" if fortran else "C")
                return target.value
        raise self.refusal("gives a state to what is no plain value")

    def array(
        self,
        data: object,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        order: str,
        axes: Sequence[int] | None = None,
    ) -> np.ndarray[Any, Any] | SkippedArray:
        """Make an array of the bytes themselves."""
        if not all(type(side) is int and side >= 0 for side in shape):
            raise self.refusal("has an array whose shape is no shape")
        needed = math.prod(shape) * dtype.itemsize
        if not isinstance(data, bytes | bytearray | SkippedBytes):
            raise self.refusal(f"has an array made of {type(data).__name__}, not of bytes")
        has = data.count if isinstance(data, SkippedBytes) else len(data)
        if has is not None and has != needed:
            raise SourceError(
                f"{self.where} is damaged: it has an array of {needed:,} bytes, and gives {has:,}"
            )
        if isinstance(data, SkippedBytes):
            return SkippedArray(tuple(shape[axis] for axis in axes) if axes else shape, dtype)
        flat = np.ndarray(shape, dtype, data, order="F" if order == "F" else "C")
        return flat if axes is None else flat.transpose(axes)

    def key(self, value: object) -> None:
        """Check a key of a dict: a tuple of tuples may take for ever to be hashed.

        Raises:
            SourceError: it is neither text nor bytes nor a number.
        """
        if type(value) not in SINGLE:
            raise self.refusal(f"has a key that is a {type(value).__name__}, not text or a number")

    def checked(self, value: Any) -> Any:  # noqa: ANN401
        """Give a finished value back if it is plain all through.

        Raises:
            SourceError: something in it was never finished, or it is nested too deeply.
        """
        level = [value]
        for _ in range(MAX_NESTING):
            inner: dict[int, Any] = {}  # each container once, however often it is shared
            for each in level:
                if type(each) in (list, tuple):
                    inner.update((id(part), part) for part in each if type(part) not in SINGLE)
                elif type(each) is dict:
                    parts = each.values()
                    inner.update((id(part), part) for part in parts if type(part) not in SINGLE)
                elif not isinstance(each, np.generic) and type(each) not in LEAVES:
                    raise self.refusal("holds what is no plain value")
            if not inner:
                return value
            level = list(inner.values())
        raise self.refusal(f"is nested more than {MAX_NESTING} deep")
