"""The journal: undamaged lines count, each row once, and nothing else does."""

from array import array
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lowres.store.arrays import Chunk
from lowres.store.journal import MAIN_JOURNAL, Built, Journal, read_journal, read_journals, strike


def built(start: int, stop: int, split: str = "train") -> Built:
    skipped = {start: "is\u2028cut\nshort"}
    return Built(
        Chunk(split, start, stop), "0123abcd" * (stop - start), skipped, array("q", [start]), "ab"
    )


THREE = (built(8, 16), built(0, 8), built(0, 3, "val"))
LINES = [one.line().encode() for one in THREE]
reuse_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def three(tmp_path):
    journal = Journal(tmp_path / MAIN_JOURNAL)
    for one in THREE:
        journal.add(one)
    journal.close()
    return tmp_path


def test_chunks_are_read_in_row_order(three):
    assert (three / MAIN_JOURNAL).read_bytes() == b"".join(LINES)
    assert read_journals(three) == [built(0, 8), built(8, 16), built(0, 3, "val")]
    assert read_journal(three / "another.journal") == []


@reuse_folder
@given(st.integers(0, len(LINES[0]) - 2), st.sampled_from([b"7", b"}", b'"', b"\xff", b"\n"]))
def test_a_line_with_any_byte_changed_does_not_count(tmp_path, at, other):
    if LINES[0][at : at + 1] == other:
        return
    damaged = LINES[0][:at] + other + LINES[0][at + 1 :]
    (tmp_path / MAIN_JOURNAL).write_bytes(b"".join([damaged, *LINES[1:]]))
    assert read_journal(tmp_path / MAIN_JOURNAL) == [*THREE[1:]]


@reuse_folder
@given(st.integers(0, sum(map(len, LINES))))
def test_a_journal_cut_anywhere_keeps_whole_lines_and_takes_more(tmp_path, size):
    path, whole = tmp_path / MAIN_JOURNAL, b"".join(LINES)
    path.write_bytes(whole[:size])
    # A line that lacks only its line feed is whole.
    kept = [one for n, one in enumerate(THREE) if len(b"".join(LINES[: n + 1])) - 1 <= size]
    assert read_journal(path) == kept
    journal = Journal(path)
    journal.add(built(16, 20))
    journal.close()
    assert read_journal(path) == [*kept, built(16, 20)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        '{"split": "train"}',
        '{"split":"train","start":"a","stop":"b","stamps":"","skipped":{},"sums":[]}',
        '{"split":"train","start":0,"stop":1e400,"stamps":"","skipped":{},"sums":[]}',
        f'{{"split":"train","start":0,"stop":{10**30},"stamps":"","skipped":{{}},"sums":[]}}',
        '{"split":"train","start":8,"stop":0,"stamps":3,"skipped":[],"sums":{},"check":null}',
    ],
)
def test_foreign_lines_do_not_count(three, line):
    path = three / MAIN_JOURNAL
    before = read_journals(three)
    path.write_text(f"{line}\n{path.read_text()}{line}\n")
    assert read_journals(three) == before


@reuse_folder
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12))
def test_each_row_counts_once(tmp_path, ranges):
    """Journals of several processes overlap after they built the same rows."""
    for path in tmp_path.iterdir():
        path.unlink()
    for number, (start, count) in enumerate(ranges):
        journal = Journal(tmp_path / f"build-{number % 3 + 1}-of-3.journal")
        journal.add(built(start, start + count))
        journal.close()
    chunks = [one.chunk for one in read_journals(tmp_path)]
    assert {(c.start, len(c)) for c in chunks} <= set(ranges)
    assert all(one.stop <= other.start for one, other in pairwise(chunks))
    assert bool(chunks) == bool(ranges)


def test_struck_chunks_are_gone(three):
    strike(three / MAIN_JOURNAL, {Chunk("train", 0, 8), Chunk("val", 5, 6)})
    assert read_journals(three) == [built(8, 16), built(0, 3, "val")]
    assert [path.name for path in three.iterdir()] == [MAIN_JOURNAL]
