"""What libtiff says about a damaged image, as text for the error that names the image.

libtiff, which Pillow uses for compressed TIFF files, writes to standard error and knows no name. It
calls its error handler in the thread that decodes, so each thread collects the lines of its image.
Lines of images that lowres does not decode go where they went before.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import _imaging

LINE_BYTES = 500
"""The longest line that is kept."""

LINES = 5
"""The most lines of one image that are kept: a damaged file may have one for each strip."""

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
"""The type of `TIFFErrorHandler`: name of the function, format, `va_list`. In the ABIs of Linux and
macOS, a `va_list` that is an argument is one pointer."""

_collected, _installing = threading.local(), threading.Lock()


@contextmanager
def libtiff_lines() -> Iterator[list[str]]:
    """Collect the lines that libtiff writes about the image that this thread decodes.

    If Pillow's libtiff cannot be reached, the list stays empty and libtiff writes as before.
    """
    with _installing:
        _handler()
    _collected.lines = lines = list[str]()
    try:
        yield lines
    finally:
        del _collected.lines


@cache
def _handler() -> object:
    """Make libtiff call a handler of lowres, once; return the handler, which must stay alive."""
    try:  # a look-up in a library includes the libraries that it is linked with
        exchange = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        write = ctypes.CDLL(None).vsnprintf
    except (OSError, AttributeError, TypeError):
        return None
    exchange.argtypes, exchange.restype = [HANDLER], ctypes.c_void_p
    write.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
    before: list[int | None] = []

    def collect(function: bytes | None, form: bytes, values: int) -> None:
        lines = getattr(_collected, "lines", None)
        if lines is None:
            if before and before[0]:
                HANDLER(before[0])(function, form, values)
        elif len(lines) < LINES:
            text = ctypes.create_string_buffer(LINE_BYTES)
            write(text, LINE_BYTES, form, values)
            name = f"{function.decode('utf-8', 'replace')}: " if function else ""
            lines.append(name + text.value.decode("utf-8", "replace"))

    handler = HANDLER(collect)
    before.append(exchange(handler))
    return handler
