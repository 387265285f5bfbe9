"""The journal: whole lines count, each row once, and nothing else does."""

import json
from array import array

import pytest

from lowres.store.journal import MAIN, Built, Chunk, Journal, read_journal, read_journals, strike


def built(start: int, stop: int, split: str = "train") -> Built:
    skipped = {start: "is\u2028cut\nshort"}
    return Built(
        Chunk(split, start, stop), "0123abcd" * (stop - start), skipped, array("q", [start])
    )


@pytest.fixture
def three(tmp_path):
    journal = Journal(tmp_path / MAIN)
    for one in (built(8, 16), built(0, 8), built(0, 3, "val")):
        journal.add(one)
    journal.close()
    return tmp_path


def test_what_is_written_is_read_in_row_order(three):
    assert read_journals(three) == [built(0, 8), built(8, 16), built(0, 3, "val")]
    assert read_journal(three / "another.journal") == []


def test_a_line_with_any_byte_changed_does_not_count(three):
    path = three / MAIN
    whole = path.read_bytes()
    length = whole.index(b"\n")
    for at in range(length):
        for other in (b"7", b"}", b'"', b"\xff"):
            if whole[at : at + 1] != other:
                path.write_bytes(whole[:at] + other + whole[at + 1 :])
                assert read_journal(path) == [built(0, 8), built(0, 3, "val")], whole[:at]


def test_a_line_cut_short_does_not_count_and_spoils_no_other(three):
    path = three / MAIN
    whole = path.read_bytes()
    for size in range(len(whole) - whole[:-1].rindex(b"\n") - 2):
        path.write_bytes(whole[: whole[:-1].rindex(b"\n") + 1 + size])
        journal = Journal(path)
        journal.add(built(16, 20))
        journal.close()
        assert read_journal(path) == [built(8, 16), built(0, 8), built(16, 20)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        '{"split": "train"}',
        '{"split":"train","start":"a","stop":"b","stamps":"","skipped":{},"sums":[]}',
        '{"split":"train","start":0.0,"stop":8.0,"stamps":"","skipped":{},"sums":[]}',
        '{"split":"train","start":0,"stop":1e400,"stamps":"","skipped":{},"sums":[]}',
        f'{{"split":"train","start":0,"stop":{10**30},"stamps":"","skipped":{{}},"sums":[]}}',
        '{"split":"train","start":8,"stop":0,"stamps":3,"skipped":[],"sums":{},"check":null}',
    ],
)
def test_foreign_lines_do_not_count(three, line):
    path = three / MAIN
    before = read_journals(three)
    path.write_text(f"{line}\n{path.read_text()}{line}\n")
    assert read_journals(three) == before


def test_each_row_counts_once(three):
    """Of journals that overlap, as after a power failure."""
    other = Journal(three / "build-1-of-2.journal")
    for one in (built(0, 8), built(4, 12), built(16, 18)):
        other.add(one)
    other.close()
    chunks = [one.chunk for one in read_journals(three) if one.chunk.split == "train"]
    assert chunks == [Chunk("train", 0, 8), Chunk("train", 8, 16), Chunk("train", 16, 18)]


def test_struck_chunks_are_gone(three):
    strike(three / MAIN, {Chunk("train", 0, 8), Chunk("val", 5, 6)})
    assert read_journals(three) == [built(8, 16), built(0, 3, "val")]
    assert all(json.loads(line) for line in (three / MAIN).read_text().splitlines())
    assert [path.name for path in three.iterdir()] == [MAIN]
