"""Plain pickles: equal to what pickle.load gives, and nothing hostile is ever run."""

import copyreg
import gc
import io
import os
import pickle
import random
import struct
import time
import tracemalloc
import weakref
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lowres.errors import SourceError
from lowres.formats.containers import pickle as plain_pickle
from lowres.formats.containers.pickle import DTYPES, SkippedArray, SkippedBytes, load_plain

PROTOCOLS = range(6)


def load(data: bytes, **options: int):
    return load_plain(io.BytesIO(data), "a.pickle", **options)


def same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        equal = np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        swapped = one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
        return swapped and one.shape == other.shape and equal
    return one == other


def text(chance: random.Random) -> str:
    return "".join(chance.choices("ab\\\n'\"\0é\u20ac\U0001f600\ud800", k=chance.randrange(12)))


def array(chance: random.Random) -> np.ndarray:
    dtype = np.dtype(chance.choice(sorted(DTYPES))).newbyteorder(chance.choice("<>"))
    shape = tuple(chance.choices(range(4), k=chance.randrange(4)))
    made = np.random.default_rng(chance.randrange(99)).integers(0, 100, shape).astype(dtype)
    if chance.random() < 0.5:
        made = made.transpose(chance.sample(range(made.ndim), made.ndim))
    return made[::2] if made.ndim and chance.random() < 0.3 else made


def scalar(chance: random.Random) -> object:
    return chance.choice(
        [
            None,
            chance.random() < 0.5,
            chance.randrange(-300, 70000),
            chance.randrange(-(2 ** chance.randrange(1, 900)), 2**70),
            chance.gauss(0, 1e9),
            float("inf"),
            text(chance),
            "x" * chance.choice((255, 256, 70000)),
            chance.randbytes(chance.choice((0, 1, 7, 255, 256, 300))),
        ]
    )


def structure(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 4:
        return scalar(chance)
    if kind == 4:
        return array(chance)
    if kind == 5:
        return chance.choice([bytearray(text(chance).encode("utf-8", "replace")), np.float32(1.5)])
    parts = [structure(chance, depth + 1) for _ in range(chance.randrange(6))]
    parts += parts[: chance.randrange(3)]  # shared, so that the memo is used
    if kind == 6:
        return parts
    return tuple(parts) if kind == 7 else {scalar(chance): part for part in parts}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_structures_are_read_as_pickle_reads_them(protocol):
    chance = random.Random(protocol)
    for _ in range(150):
        value = structure(chance)
        data = pickle.dumps(value, protocol)
        assert same(load(data), pickle.loads(data))  # noqa: S301  our own
        assert same(load(data + b"what follows"), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [b"numpy._core.", b"numpy.core."])
def test_batches_of_old_and_new_numpy(protocol, name):
    batch = {"data": np.arange(24, dtype=np.uint8).reshape(2, 12), "labels": [1, 1000]}
    data = pickle.dumps(batch, protocol).replace(b"numpy._core.", name)
    if protocol >= 4 and name == b"numpy.core.":  # there the text has its length before it
        data = data.replace(b"\x13numpy.core", b"\x12numpy.core")
        data = data.replace(b"\x16numpy.core", b"\x15numpy.core")
    assert same(load(data), batch)


def test_array_uses_the_bytes_that_were_read():
    made = load(pickle.dumps(np.arange(9, dtype=np.uint8)))
    assert isinstance(made.base, bytes | bytearray)


def test_an_array_is_freed_with_its_last_use():
    """Files of gigabytes are read one after the other: none may wait for the garbage collector."""
    gc.disable()
    try:
        array = load_plain(io.BytesIO(pickle.dumps(np.arange(9))), "file")
        alive = weakref.ref(array)
        del array
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_strings_are_skipped(protocol):
    batch = {"labels": [3, 4], "data": np.zeros((2, 3000), np.uint8), "mean": np.ones(4)}
    batch |= {"fortran": np.zeros((3, 1000)).transpose(), "raw": b"r" * 5000, "last": "z"}
    stream = io.BytesIO(pickle.dumps(batch, protocol))
    read = load_plain(stream, "a.pickle", skip_above=4000 if protocol > 2 else 100)
    assert (read["labels"], read["last"]) == ([3, 4], "z")
    assert same(read["mean"], np.ones(4))
    if protocol:  # with 0 all strings are lines, and lines are read
        assert read["fortran"] == SkippedArray((1000, 3), np.dtype(np.float64))
        assert isinstance(read["raw"], SkippedBytes)
    if protocol in (1, 2):
        assert read["data"] == SkippedArray((2, 3000), np.dtype(np.uint8))


def test_python_2_text_is_bytes():
    assert load(b"U\x03abc.") == b"abc"
    assert load(b"T\x03\x00\x00\x00abc.") == b"abc"
    assert load(b"S'it\\'s \\x00\\n\\\\'\np0\n.") == b"it's \x00\n\\"
    assert load(b'S"it\'s"\n.') == b"it's"
    assert load(b"(dp0\nS'a'\nL5L\nsS'b'\nI01\ns.") == {b"a": 5, b"b": True}
    assert load(b"c__builtin__\nbytearray\n(Vab\nS'latin-1'\ntR.") == bytearray(b"ab")


def python_2_array(dtype: bytes, order: bytes) -> bytes:
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85"
        b"U\x01b\x87Rq\x03(K\x01K\x02\x85cnumpy\ndtype\nU\x02" + dtype + b"K\x00K\x01\x87R"
        b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04abcdtb."
    )


def test_python_2_array():
    assert same(load(python_2_array(b"u2", b">")), np.frombuffer(b"abcd", ">u2"))
    with pytest.raises(SourceError, match="has a dtype with no byte order"):
        load(python_2_array(b"u2", b"?"))
    with pytest.raises(SourceError, match="dtype 'O8', which is neither"):
        load(python_2_array(b"O8", b"|"))
    with pytest.raises(SourceError, match="array of 8 bytes and 4 bytes for it"):
        load(python_2_array(b"u4", b"<"))


CALLS = {
    "os.system": b"cos\nsystem\n(V%s\ntR.",
    "posix.system": b"cposix\nsystem\nX%s\x85R.",
    "builtins.eval": b"cbuiltins\neval\n(Vopen('%s', 'w')\ntR.",
    "builtins.getattr": b"cbuiltins\ngetattr\n(Vopen('%s', 'w')\ntR.",
    "subprocess.Popen": b"(V%s\nisubprocess\nPopen\n.",
    "pathlib.Path": b"cpathlib\nPath\n(V%s\nt\x81.",
    "numpy.f2py.compile": b"cnumpy.f2py\ncompile\n(V%s\ntR.",
    "numpy.core.multiarray.fromfile": b"cnumpy.core.multiarray\nfromfile\n(V%s\ntR.",
}


class Calls:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("name", CALLS)
def test_a_hostile_global_is_named_and_not_run(tmp_path, name):
    path = str(tmp_path / "made").encode()
    command = b"touch " + path if "eval" not in name else path
    if name == "posix.system":
        command = struct.pack("<I", len(command)) + command
    with pytest.raises(
        SourceError, match=f"names {name}, which is no plain value: lowres refuses it, and noth"
    ):
        load(CALLS[name] % command)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, eval, getattr, print, Path, date, open])
def test_objects_that_call_are_refused(tmp_path, protocol, function):
    path = tmp_path / "made"
    command = f"open({str(path)!r}, 'w')" if function is eval else f"touch {path}"
    with pytest.raises(SourceError, match="lowres refuses it, and nothing was run"):
        load(pickle.dumps({"data": [Calls(function, command)]}, protocol))
    assert not path.exists()


def test_the_hostile_pickles_would_work(tmp_path):
    path = tmp_path / "made"
    pickle.loads(CALLS["os.system"] % f"touch {path}".encode())  # noqa: S301  it only touches
    assert path.exists()


REFUSALS = {
    b"Pid\n.": "has PERSID",
    b"K\x01Q.": "has BINPERSID",
    b"\x82\x01.": "has EXT1",
    b"cnumpy\nndarray\n(o.": "has OBJ",
    b"cnumpy\nndarray\n)\x81.": "has NEWOBJ",
    b"\x8f.": "has EMPTY_SET",
    b"\x97.": "has NEXT_BUFFER",
    b"(inumpy\nndarray\n.": "calls ndarray",
    b"cnumpy\nndarray\n.": "holds what is no plain value",
    b"]cnumpy\nndarray\na.": "holds what is no plain value",
    b"cnumpy\nndarray\n)R.": "calls ndarray",
    b"K\x01)R.": "no whole pickle.*not callable",
    b"cnumpy\ndtype\n(VO\ntR.": "dtype 'O'",
    b"cnumpy\ndtype\n(VS5\ntR.": "dtype 'S5'",
    b"cnumpy\ndtype\n(Vu1\ntR.": "holds what is no plain value",
    b"]}b.": "has a state for what is no plain value",
    b"})K\x01s.": "key that is a tuple",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n)C\x01btR.": "holds what is no plain",
    b"c_codecs\nencode\n(Vab\nVrot13\ntR.": "calls encode for no Latin-1 text",
    b"cbuiltins\nbytes\n(I9999999999\ntR.": "makes bytes of what is no string",
    b"V"
    + b"a" * 500
    + b"\np0\n0]"
    + b"c_codecs\nencode\n(g0\nVlatin1\ntRa" * 9
    + b".": "makes longer strings than",
    b"(" * 100: "is cut short",
    b"]" + b"\x85" * 100 + b".": "nested more than 64 deep",
    b"]q\x00h\x00a.": "nested more than 64 deep",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff": "string of 18,446,744,073,709,551,615 bytes",
    b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00ab": "is cut short",
    b"\x96\xff\xff\xff\xff\xff\x00\x00\x00ab": "is cut short",
    b"T\xff\xff\xff\xff": "string of -1 bytes",
    b"\x8b\xff\xff\xff\x7f": "has LONG4, which makes no plain value",
    b"I" + b"9" * 5000 + b"\n.": "no whole pickle",
    b"\x80\x06N.": "unsupported pickle protocol: 6",
    b"": "is cut short",
    b"N": "is cut short",
    b"G\x00": "is cut short",
    b".": "no whole pickle",
    b"h\x00.": "no whole pickle",
    b"V\\u12\n.": "no whole pickle",
    b"\x8c\x01\xff.": "no whole pickle",
    b"S'\\q'\n.": "no whole pickle",
    b"S'a\n.": "must be quoted",
    b"t.": "no whole pickle",
    b"N\x86.": "no whole pickle",
    b"NK\x01a.": "no whole pickle",
    b"}(K\x01u.": "no whole pickle",
    b"](K\x01K\x01u.": "an item for what is no dict",
    b"K\x01K\x02\x93.": "STACK_GLOBAL requires str",
    b"cnumpy\ndtype\nNR.": "must be an iterable",
    b"PK\x03\x04": "has PERSID",
    b"\xff": r"b'\\xff' is no opcode",
}


@pytest.mark.parametrize("data", REFUSALS)
def test_refusals(data):
    with pytest.raises(SourceError, match=f"(?s)^a.pickle .*{REFUSALS[data]}"):
        load(data)


@pytest.mark.parametrize(
    "shape", [b"I-1\n", b"I3\n", b"VX\n", b"I99999999999999999999\n", b"I01\n"]
)
def test_absurd_shapes(shape):
    whole = pickle.dumps(np.zeros(2, np.uint8), 0)
    assert whole.count(b"(I2\n") == 1
    with pytest.raises(SourceError):
        load(whole.replace(b"(I2\n", b"(" + shape))


def test_shared_lists_do_not_explode():
    layers = b"]q\x00" + b"".join(b"](" + b"h\x00" * 10 + b"eq\x00" for _ in range(40)) + b"."
    assert len(load(layers)) == 10


def test_a_skipped_length_beyond_the_end():
    with pytest.raises(SourceError, match="is cut short"):
        load(b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00ab", skip_above=10)


def test_a_registered_extension_is_refused(tmp_path):
    """Also after another library has loaded it, which spares `pickle` the look for its name."""
    copyreg.add_extension("os", "system", 240)
    try:
        copyreg._extension_cache[240] = os.system
        with pytest.raises(SourceError, match="has EXT1, which makes no plain value"):
            load(b"\x82\xf0(Vtouch %s\ntR." % str(tmp_path / "made").encode())
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert not any(tmp_path.iterdir())


LAYERS = b"".join(b"\x86" if n % 2 else b"2" for n in range(120))
BOMBS = {
    "a memo with far numbers": (b"Nr\xff\xff\xff\x7f.", None),
    "a key that takes for ever to be hashed": (b"})" + LAYERS + b"Ns.", "a key that is a tuple"),
    "a dtype that takes for ever": (b"cnumpy\ndtype\n(" + b")" + LAYERS + b"tR.", "without a name"),
    "a shape of many axes": (
        b"cnumpy.core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(Vu1\ntR("
        + b"J\xff\xff\xff\x7f" * 100_000
        + b"tVC\ntR.",
        "whose shape is no shape",
    ),
    "lengths that lie": (b"\x8e\0\0\0\0\x01\0\0\0ab", "is cut short"),
    "a bytearray that is not there": (b"\x96\0\0\0\0\x01\0\0\0ab", "is cut short"),
    "a frame that is not there": (b"\x95\xff\xff\xff\xff\xff\x00\x00\x00N.", None),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_neither_time_nor_memory(name):
    data, words = BOMBS[name]
    tracemalloc.start()
    started = time.thread_time()
    if words:
        with pytest.raises(SourceError, match=words):
            load(data)
    else:
        assert load(data) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.thread_time() - started < 5
    assert peak < 30_000_000


def test_more_values_than_any_real_file(monkeypatch):
    monkeypatch.setattr(plain_pickle, "MAX_READS", 100)
    assert load(b"]" + b"Na" * 49 + b".")
    with pytest.raises(SourceError, match="holds too many values: lowres refuses it"):
        load(b"]" + b"Na" * 50 + b".")


LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(2**900), 2**900)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | arrays(st.sampled_from(sorted(DTYPES)), array_shapes(min_dims=0, min_side=0, max_side=4))
)
PLAIN = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.binary() | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.full
@settings(max_examples=60)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_any_plain_value_is_read_back(value, protocol):
    assert same(load(pickle.dumps(value, protocol)), value)


@pytest.mark.full
def test_flips_and_cuts_raise_nothing_else():
    chance = random.Random(5)
    batch = {"data": np.zeros((3, 12), np.uint8), "labels": [1, 700, 3], "mean": np.ones(12)}
    batch |= {"names": ["a", b"bc", (1.5, 2**40)], "scalar": np.float32(2), "raw": bytearray(b"x")}
    for protocol in PROTOCOLS:
        whole = pickle.dumps(batch, protocol)
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            if chance.random() < 0.3:
                del damaged[chance.randrange(len(damaged)) :]
            for options in ({}, {"skip_above": 8}):
                with suppress(SourceError):
                    load(bytes(damaged), **options)
