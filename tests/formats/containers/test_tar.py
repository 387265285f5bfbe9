"""Tars read in place: what is listed, and every damage that must not pass for an end."""

import gc
import gzip
import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lowres.errors import SourceError
from lowres.formats.containers.streams import OPEN_FILES, ByteRanges
from lowres.formats.containers.tar import members
from lowres.formats.source import ignored

CONTENTS = {"a.jpg": b"x" * 700, "deep/b.jpg": b"", "c.jpg": b"z" * 512}


def packed(contents: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def listed(path: Path) -> dict[str, bytes]:
    ranges = ByteRanges()
    return {
        member.name: ranges.read(str(path), member.offset, member.length, member.name)
        for member in members(path)
    }


def with_header(change: dict[str, object]) -> bytes:
    """Pack a, an empty member with the changed attributes, and c."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("a.jpg", "odd", "c.jpg"):
            info = tarfile.TarInfo(name)
            if name == "odd":
                for attribute, value in change.items():
                    setattr(info, attribute, value)
            archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_where_they_lie(tmp_path, form):
    assert listed(write(tmp_path / "x.tar", packed(CONTENTS, form))) == CONTENTS


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_letters(tmp_path, form):
    contents = {"d/" * 80 + "long.jpg": b"1", "ü/ñ.jpg": b"2"}
    assert listed(write(tmp_path / "x.tar", packed(contents, form))) == contents


def test_a_dot_in_front_is_dropped_and_folders_are_passed_over(tmp_path):
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "a.jpg").write_bytes(b"1")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "set", "./")
    assert listed(tmp_path / "x.tar") == {"deep/a.jpg": b"1"}


def test_a_tar_inside_a_tar(tmp_path):
    outer = packed({"first.tar": packed({"0": b"0"}), "inner.tar": packed(CONTENTS), "last": b""})
    path = write(tmp_path / "x.tar", outer)
    inner = next(member for member in members(path) if member.name == "inner.tar")
    data = path.read_bytes()
    found = {m.name: data[m.offset : m.offset + m.length] for m in members(path, inner)}
    assert found == CONTENTS


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_the_standard_library(tmp_path, form):
    names = [
        "a.jpg", "b/c.jpg", "b/.hidden.jpg", "with blank.jpg", "x" * 99, "y" * 100,
        "d/" * 49 + "e", "d/" * 55 + "e.jpg", "ü.jpg", "a[1]~{}.jpg", "dots...jpg", "b/..c.jpg",
        "-dash", "./front.jpg", "last.jpg",
    ]  # fmt: skip
    names += ["z" * 101] if form != tarfile.USTAR_FORMAT else []
    path = write(tmp_path / "x.tar", packed({name: b"." * n for n, name in enumerate(names)}, form))
    with tarfile.open(path) as archive:
        expected = [(Path(m.name).as_posix(), m.offset_data, m.size) for m in archive]
    assert [tuple(member) for member in members(path)] == expected


def test_bodies_are_not_read(tmp_path, monkeypatch):
    path = write(tmp_path / "x.tar", packed({"a": bytes(3_000_000), "b": bytes(3_000_000)}))
    taken = []
    real = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        taken.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert len(list(members(path))) == 2
    assert sum(taken) < 100_000


def test_names_that_lead_elsewhere(tmp_path):
    for name in ("/etc/passwd", "../up.jpg", "a/../../b.jpg", "back\\slash.jpg"):
        path = write(tmp_path / "x.tar", packed({"fine.jpg": b"", name: b""}))
        with pytest.raises(SourceError, match=r"x\.tar has a member named"):
            list(members(path))
    for name in (os.fsdecode(b"\xff.jpg"), "new\nline.jpg"):
        path = write(tmp_path / "x.tar", packed({"fine.jpg": b"", name: b"", "last.jpg": b""}))
        with pytest.raises(
            SourceError, match=r"UTF-8 in one line, was .*; rename the file and pack"
        ):
            list(members(path))
        names = [member.name for member in members(path, leave_out=ignored)]
        assert names == ["fine.jpg", "last.jpg"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "odd is a link"),
        ({"type": tarfile.LNKTYPE, "linkname": "a.jpg"}, "odd is a link"),
        ({"type": tarfile.CHRTYPE}, "must be an ordinary file, was of tar type '3'"),
        ({"type": tarfile.FIFOTYPE}, "was of tar type '6'"),
        ({"type": b"Q"}, "was of tar type 'Q'"),
    ],
)
def test_links_and_devices(tmp_path, change, words):
    with pytest.raises(SourceError, match=rf"x\.tar: .*{words}"):
        list(members(write(tmp_path / "x.tar", with_header(change))))


def test_sparse_files_are_refused(tmp_path):
    data = bytearray(with_header({"type": tarfile.GNUTYPE_SPARSE}))
    with pytest.raises(SourceError, match=r"x\.tar: odd must be an ordinary file"):
        list(members(write(tmp_path / "x.tar", bytes(data))))


def checked(header: bytearray) -> bytes:
    """Give a header the checksum that it must have."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("number", [-512, -(2**40), 2**60])
def test_lengths_that_cannot_be(tmp_path, number):
    data = packed(CONTENTS)
    header = bytearray(data[:512])
    mark = 0o377 if number < 0 else 0o200
    header[124:136] = bytes([mark]) + (number % 256**11).to_bytes(11, "big")
    with pytest.raises(SourceError, match=r"x\.tar.*a\.jpg"):
        list(members(write(tmp_path / "x.tar", checked(header) + data[512:])))


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    header = bytearray(packed({"PaxHeader": b""})[:512])
    header[156:157] = tarfile.XHDTYPE
    header[124:136] = b"77777777777\0"
    path = write(tmp_path / "x.tar", checked(header))
    os.truncate(path, 2**40)
    with pytest.raises(SourceError, match="a header claims"):
        list(members(path))


def test_endless_long_names(tmp_path):
    header = bytearray(packed({"././@LongLink": b""})[:512])
    header[156:157] = tarfile.GNUTYPE_LONGNAME
    with pytest.raises(SourceError, match="damaged or no tar"):
        list(members(write(tmp_path / "x.tar", checked(header) * 5000)))


@pytest.mark.parametrize("kept", [1024, 1100, 1536, 2048, 2100, 2560, 3072])
def test_cut_short(tmp_path, kept):
    # a: 0 to 1536; deep/b: to 2048; c: to 3072; zeros. Cuts at boundaries pass for an end.
    path = write(tmp_path / "x.tar", packed(CONTENTS)[:kept])
    with pytest.raises(SourceError, match=r"x\.tar is cut short: .*fetch or copy"):
        list(members(path))


def test_one_block_of_zeros_is_an_end(tmp_path):
    path = write(tmp_path / "x.tar", packed(CONTENTS)[: 3072 + 512])
    assert [member.name for member in members(path)] == list(CONTENTS)


def test_a_damaged_header_is_not_the_end(tmp_path):
    data = bytearray(packed(CONTENTS))
    data[1536 + 20] ^= 1
    with pytest.raises(SourceError, match=r"x\.tar has a damaged header after a\.jpg"):
        list(members(write(tmp_path / "x.tar", bytes(data))))
    data[1536 : 1536 + 512] = bytes(512)
    with pytest.raises(SourceError, match=r"has bytes behind its end, which is after a\.jpg"):
        list(members(write(tmp_path / "x.tar", bytes(data))))


def test_two_archives_in_one_file(tmp_path):
    path = write(tmp_path / "x.tar", packed(CONTENTS) + packed({"d.jpg": b""}))
    with pytest.raises(SourceError, match="two archives in one"):
        list(members(path))


def test_damage_of_an_inner_tar_names_it(tmp_path):
    path = write(tmp_path / "x.tar", packed({"inner.tar": packed(CONTENTS)[:2048]}))
    inner = next(members(path))
    with pytest.raises(SourceError, match=r"x\.tar: inner\.tar is cut short"):
        list(members(path, inner))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (gzip.compress(packed(CONTENTS)), "unpack it first: gunzip"),
        (b"BZh91AY", "unpack it first: bunzip2"),
        (b"\xfd7zXZ\0", "unpack it first: unxz"),
        (b"not a tar at all" * 100, "damaged or no tar file"),
        (b"short", "damaged or no tar file"),
    ],
)
def test_not_a_tar(tmp_path, data, words):
    with pytest.raises(SourceError, match=rf"x\.tar .*{words}"):
        list(members(write(tmp_path / "x.tar", data)))


@pytest.mark.full
def test_random_damage_is_only_ever_a_source_error(tmp_path):
    rng = np.random.default_rng(0)
    names = {"d/" * 80 + "long.jpg": b"1" * 30, "ü.jpg": b"", "a.jpg": b"2" * 600}
    whole = [packed(names, form) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    for turn in range(600):
        data = bytearray(whole[turn % 2][:-8192])
        begins = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
        at = int(rng.choice(begins))
        for _ in range(rng.integers(1, 4)):
            data[at + int(rng.integers(512))] = int(rng.integers(256))
        if turn % 3:  # the checksum fits, so that what it claims is believed
            data[at : at + 512] = checked(data[at : at + 512])
        try:
            found = list(members(write(tmp_path / "x.tar", bytes(data))))
        except SourceError:
            continue
        assert all(m.offset + m.length <= len(data) for m in found)


def test_ranges_from_many_threads(tmp_path):
    data = np.random.default_rng(0).bytes(50_000)
    paths = [write(tmp_path / f"{number}", data) for number in range(3)]
    ranges = ByteRanges()
    gate = threading.Barrier(8)

    def work(seed: int) -> bool:
        gate.wait()
        rng = np.random.default_rng(seed)
        for _ in range(300):
            offset, length = int(rng.integers(40_000)), int(rng.integers(10_000))
            path = paths[int(rng.integers(3))]
            if ranges.read(str(path), offset, length, "x") != data[offset : offset + length]:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def open_files(folder: Path) -> int:
    """Count the open files of a folder; other threads may open others meanwhile."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            count += descriptor.readlink().is_relative_to(folder)
    return count


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files here")
def test_files_are_opened_once_kept_few_and_closed(tmp_path):
    paths = [write(tmp_path / f"{number}", b"abc") for number in range(OPEN_FILES + 20)]
    ranges = ByteRanges()
    for path in paths * 2:
        assert ranges.read(str(path), 1, 2, "x") == b"bc"
    assert open_files(tmp_path) == OPEN_FILES
    ranges.read(str(paths[-1]), 0, 1, "x")
    assert open_files(tmp_path) == OPEN_FILES
    del ranges
    gc.collect()
    assert open_files(tmp_path) == 0


def test_a_short_read_names_file_and_member(tmp_path):
    path = write(tmp_path / "x.tar", b"abc")
    with pytest.raises(
        SourceError, match=r"x\.tar is cut short: a/b\.jpg must have 9 bytes.*was 2"
    ):
        ByteRanges().read(str(path), 1, 9, "a/b.jpg")
    assert ByteRanges().read(str(path), 3, 0, "empty") == b""
    with pytest.raises(FileNotFoundError):
        ByteRanges().read(str(tmp_path / "none"), 0, 1, "x")
