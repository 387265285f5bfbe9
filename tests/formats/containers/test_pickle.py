"""Plain pickles: equal to what pickle.load gives, and nothing hostile is ever run."""

import io
import os
import pickle
import random
import struct
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lowres.errors import SourceError
from lowres.formats.containers.pickle import load_plain
from lowres.formats.containers.plain_values import DTYPES, SkippedArray, SkippedBytes

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
    with pytest.raises(SourceError, match="array of 8 bytes, and gives 4"):
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
    with pytest.raises(SourceError, match=f"names {name}, which is no plain value; refused, noth"):
        load(CALLS[name] % command)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, eval, getattr, print, Path, date, open])
def test_objects_that_call_are_refused(tmp_path, protocol, function):
    path = tmp_path / "made"
    command = f"open({str(path)!r}, 'w')" if function is eval else f"touch {path}"
    with pytest.raises(SourceError, match="refused, nothing was run"):
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
    b"(inumpy\nndarray\n.": "has INST",
    b"cnumpy\nndarray\n.": "holds what is no plain value",
    b"]cnumpy\nndarray\na.": "holds what is no plain value",
    b"cnumpy\nndarray\n)R.": "calls NDARRAY",
    b"K\x01)R.": "calls int",
    b"cnumpy\ndtype\n(VO\ntR.": "dtype 'O'",
    b"cnumpy\ndtype\n(VS5\ntR.": "dtype 'S5'",
    b"cnumpy\ndtype\n(Vu1\ntR.": "holds what is no plain value",
    b"]}b.": "gives a state to what is no plain value",
    b"})K\x01s.": "key that is a tuple",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n)C\x01btR.": "holds what is no plain",
    b"c_codecs\nencode\n(Vab\nVrot13\ntR.": "calls ENCODE",
    b"cbuiltins\nbytes\n(I9999999999\ntR.": "makes bytes of what is no string",
    b"V"
    + b"a" * 50
    + b"\np0\n0]"
    + b"c_codecs\nencode\n(g0\nVlatin1\ntRa" * 9
    + b".": "makes longer strings than",
    b"(" * 100: "nested more than 64 deep",
    b"]" + b"\x85" * 100 + b".": "nested more than 64 deep",
    b"]q\x00h\x00a.": "nested more than 64 deep",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff": "string of 18,446,744,073,709,551,615 bytes",
    b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00ab": "is cut short",
    b"\x96\xff\xff\xff\xff\xff\x00\x00\x00ab": "is cut short",
    b"T\xff\xff\xff\xff": "string of -1 bytes",
    b"\x8b\xff\xff\xff\x7f": "integer of 2,147,483,647 bytes",
    b"I" + b"9" * 2000 + b"\n.": "line without an end",
    b"\x80\x06N.": "protocol 6",
    b"": "is cut short",
    b"N": "is cut short",
    b"G\x00": "is cut short",
    b".": "no whole pickle",
    b"h\x00.": "no whole pickle",
    b"V\\u12\n.": "no whole pickle",
    b"\x8c\x01\xff.": "no whole pickle",
    b"S'\\q'\n.": "no whole pickle",
    b"S'a\n.": "string without quotes",
    b"t.": "no whole pickle",
    b"N\x86.": "tuple of more than there is",
    b"NK\x01a.": "item for what is no list",
    b"}(K\x01u.": "item for what is no dict",
    b"K\x01K\x02\x93.": "a name that is no text",
    b"cnumpy\ndtype\nNR.": "arguments are no tuple",
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
