"""Numbers as text, the same in tables, messages and reports."""

import csv
import io
import math
from pathlib import Path

import pytest

import lowres
from lowres.cli.app import VERBS
from lowres.text import (
    MISSING,
    command,
    count,
    csv_bytes,
    duration,
    number,
    number_or_word,
    percent,
    points,
    short,
    shortened,
    table,
    value as value_text,
    visible,
    without_folders,
)


def test_numbers_have_fixed_decimals_or_three_digits():
    assert number(1234.5, 1) == "1,234.5"
    assert number(-0.001, 2) == "0.00"
    assert number(None, 1) == number(math.inf, 1) == short(math.nan) == short(None) == MISSING
    assert short(0.012345) == "0.0123"
    assert short(123456) == "123,000"


def test_commands_can_be_pasted_into_a_shell():
    assert (
        command("search", Path("my runs"), "--confirm", 3) == "lowres search 'my runs' --confirm 3"
    )


def test_shares_are_percent():
    assert percent(0.12345) == "12.35 %"
    assert percent(0.12345, 1) == "12.3 %"
    assert points(0.5) == "50.00"
    assert percent(None) == percent(math.inf) == points(None) == MISSING


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (99.4, "99 s"), (150, "2 min"), (5999, "100 min"), (9000, "2.5 h"),
     (363_000, "4.2 days")],
)  # fmt: skip
def test_a_duration_has_the_unit_that_suits_it(seconds, words):
    assert duration(seconds) == words


def test_counts_have_a_singular_and_a_plural():
    assert count(1, "run") == "1 run"
    assert count(0, "run") == "0 runs"
    assert count(1200, "image") == "1,200 images"
    assert count(2, "class", "classes") == "2 classes"


def test_values_read_as_on_the_command_line():
    assert value_text(0.05) == "0.05"
    assert value_text(0.123456789) == "0.123457"
    assert value_text(0.123456789, 4) == "0.1235"
    assert value_text((0.5, 0.75)) == value_text([0.5, 0.75]) == "0.5+0.75"
    assert value_text(()) == "none"
    assert value_text("sgd") == "sgd"


def test_a_truth_value_on_an_axis_is_a_word():
    assert [number_or_word(one) for one in (3, 0.5, True, "box", None)] == [
        3.0, 0.5, "True", "box", "None",
    ]  # fmt: skip


def test_a_table_has_aligned_columns():
    assert list(table([["lr", "runs"], ["0.05", "3"]])) == ["  lr  runs", "0.05     3"]
    assert list(table([["a", "b"], ["1", ""]])) == ["a  b", "1"], "no spaces at the end"


def test_long_texts_are_cut():
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bee\tant\nfly é 蜂 \N{EN DASH}", "bee\tant\nfly é 蜂 \N{EN DASH}"),
        ("\x1b[31mred\x1b[0m", r"\u001b[31mred\u001b[0m"),
        ("a\rb\x08\x7f\x9b", r"a\u000db\u0008\u007f\u009b"),
        ("gnp.\u202etxt\u2066", r"gnp.\u202etxt\u2066"),
        ("not\udcffutf", r"not\udcffutf"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert visible(text) == shown
    shown.encode()


def test_commands_can_be_pasted():
    words = command("train", Path("my runs/a"), "--threads", 2)
    assert words == "lowres train 'my runs/a' --threads 2"


def test_every_command_with_a_path_can_be_pasted():
    """Messages name their commands by `command`, which quotes."""
    for path in Path(lowres.__file__).parent.rglob("*.py"):
        for _, verb, _ in VERBS:
            name = verb.rpartition(":")[2]
            assert f"lowres {name} {{" not in path.read_text(), path


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_begins_a_formula(text):
    written = io.StringIO(csv_bytes([[text]]).decode(), newline="")
    assert list(csv.reader(written)) == [[f"'{text}"]]


def test_other_cells_stay():
    rows = [["", "a=1", -1.5, 3, None, "'=1"], ["two\nlines", "a\rb", "é\udcff"]]
    expected = ',a=1,-1.5,3,,\'=1\n"two\nlines","a\rb",é\\udcff\n'
    assert csv_bytes(rows) == expected.encode()


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/ann/runs/a/result.json is damaged", "…/result.json is damaged"),
        (
            "no file: '/data/x/y.tar' (see /tmp/log.txt)",
            "no file: '…/y.tar' (see …/log.txt)",
        ),
        ("/home/ann/my runs/a is gone", "…/a is gone"),
        ("see https://example.org/a/b, and/or 1/2 and ../x/y", ""),
        ("12 images/s at /dev", ""),
    ],
)
def test_shared_texts_name_no_folder_of_the_machine(text, shared):
    assert without_folders(text, ["/home/ann/my runs", "/"]) == (shared or text)
