"""Compiled loops where numba finds no place for the machine code."""

import subprocess
import sys

import pytest

from images import contents
from lowres import jit as compiled


def test_without_a_folder_for_machine_code(monkeypatch):
    """As under a user who can write neither the installed package nor a home."""
    asked = []

    def njit(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(len) is len
    assert asked == [{"cache": True, "nogil": True}, {"nogil": True}]


def test_only_what_numba_compiles_is_noticed():
    numba = pytest.importorskip("numba")
    compiled_now, noticed = numba.njit(lambda x: x + 1), []
    with compiled.before_compiling(lambda: noticed.append(len(compiled_now.signatures))):
        assert compiled_now(1) == 2
        assert compiled_now(1.0) == 2.0
    assert noticed == [0], "once, and before"
    with compiled.before_compiling(pytest.fail):
        compiled_now(2)
    compiled_now(1j)
    assert noticed == [0], "not outside the block"


def test_without_numba_a_whole_build_has_the_same_bytes(tmp_path, source, store_path):
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
from lowres.store import build as builder
from lowres import jit as compiled
from lowres.store.options import BuildOptions
assert not compiled.HAS_NUMBA
builder.build(*sys.argv[1:], BuildOptions(size=(8, 16), filter=("box", "lanczos")))
"""
    store = tmp_path / "store"
    subprocess.run([sys.executable, "-c", script, source, store], check=True)
    assert contents(store) == contents(store_path)
