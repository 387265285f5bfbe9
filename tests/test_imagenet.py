"""The two orders of ImageNet's classes, against facts that others have published."""

import csv
import hashlib
from collections import Counter

import numpy as np
import pytest

from lowres import imagenet as labels
from lowres.errors import SourceError


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_table_is_the_scripts_own():
    """map_clsloc.txt of the authors' scripts, to the byte."""
    by_devkit = sorted(labels.imagenet_classes(), key=lambda known: known.devkit_id)
    lines = "".join(f"{c.wnid} {c.devkit_id} {c.word}\n" for c in by_devkit)
    assert sha256(lines) == "1dd44b44b70cbdb05781d3b49851bfa25a82486f47b2957a29eac1f98da4441d"


def test_known_classes():
    assert labels.wnids() == tuple(sorted(labels.devkit_wnids()))
    assert labels.find("n02119789") == ("n02119789", 1, 278, "kit_fox")
    assert labels.find("n02100735") == ("n02100735", 2, 212, "English_setter")
    assert labels.find("n02110185") == ("n02110185", 3, 250, "Siberian_husky")
    assert labels.find("n03255030")[1::2] == (1000, "dumbbell")
    tench = labels.imagenet_classes()[0]
    assert tench == ("n01440764", 449, 0, "tench")
    assert labels.find("n00000000") is None


def test_conversions_both_ways():
    assert labels.sorted_from_devkit([1, 2, 3, 449]).tolist() == [278, 212, 250, 0]
    assert labels.devkit_from_sorted([[278, 0]]).tolist() == [[1, 449]]
    everything = np.arange(1, 1001)
    there = labels.sorted_from_devkit(everything)
    assert sorted(there) == list(range(1000))
    np.testing.assert_array_equal(labels.devkit_from_sorted(there), everything)
    assert labels.sorted_from_devkit([]).tolist() == []
    for wrong in ([0], [1001], [1.5]):
        with pytest.raises(SourceError, match="devkit ids must be whole numbers from 1 to 1000"):
            labels.sorted_from_devkit(wrong)
    with pytest.raises(SourceError, match="positions must be whole numbers from 0 to 999"):
        labels.devkit_from_sorted([-1])


def test_no_class_has_one_position_in_both_orders():
    for known in labels.imagenet_classes():
        assert known.devkit_id - 1 != known.sorted_index


def test_words_are_not_unique():
    words = Counter(known.word for known in labels.imagenet_classes())
    assert {word for word, times in words.items() if times > 1} == {"crane", "maillot"}


def test_the_table_is_the_shared_one(shared):
    with (shared / "ilsvrc2012_classes.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        assert labels.find(row["wnid"]) == (
            row["wnid"],
            int(row["devkit_id"]),
            int(row["sorted_index"]),
            row["word"],
        )
    assert len(rows) == len(labels.imagenet_classes()) == 1000


def test_imagenet16_120_is_nas_bench_201s():
    names = labels.expanded(["imagenet16-120"], labels.wnids())
    assert sha256("\n".join(names)) == (
        "5d22de646789d6179ccdea3e1fc65d84bf2e6797691ad62ad74f55d5604514a6"
    )
    positions = [labels.find(name).sorted_index for name in names]
    assert (min(positions), max(positions)) == (147, 387)
    assert names == labels.expanded(["devkit:1-120"], labels.wnids())
    assert len(labels.expanded(["imagenet16-150"], labels.wnids())) == 150
    assert len(labels.expanded(["imagenet16-200"], labels.wnids())) == 200


def test_ranges_in_sorted_order_are_for_any_source():
    names = ("pear", "apple", "fig")
    assert labels.expanded(["sorted:0-1"], names) == ("apple", "fig")
    assert labels.expanded(["pear", "sorted:1-1"], names) == ("pear", "fig")
    assert labels.expanded(["sorted:0-0"], labels.wnids()) == ("n01440764",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devkit:1-2", r"is for ImageNet's classes, named by WNID; .*pear, apple, fig"),
        ("imagenet16-120", "is for ImageNet's classes"),
        ("sorted:0-3", "must lie between sorted:0 and sorted:2"),
        ("sorted:2-1", "the smaller number first"),
    ],
)
def test_ranges_that_do_not_fit(text, words):
    with pytest.raises(SourceError, match=words):
        labels.expanded([text], ("pear", "apple", "fig"))


def test_devkit_range_ends():
    assert labels.expanded(["devkit:1000-1000"], labels.wnids()) == ("n03255030",)
    for text in ("devkit:0-5", "devkit:1-1001"):
        with pytest.raises(SourceError, match="between devkit:1 and devkit:1000"):
            labels.expanded([text], labels.wnids())


def test_devkit_ids_only_for_imagenet():
    assert labels.devkit_ids(["n01440764", "n02119789"]) == (449, 1)
    assert labels.devkit_ids(["n01440764", "cat"]) is None
    assert labels.devkit_ids([]) is None


def test_overlapping_choices_are_joined():
    names = ("a", "b", "c")
    assert labels.expanded(["sorted:0-1", "b", "c"], names) == ("a", "b", "c")
    assert labels.named("crane") == ("n02012849", "n03126707")


def test_names_in_words_are_recognised_in_their_order_only():
    synsets = [f"{c.word.replace('_', ' ')}, other name" for c in labels.imagenet_classes()]
    assert labels.recognised(synsets) == labels.wnids()
    assert labels.recognised(synsets[::-1]) == tuple(synsets[::-1])
    assert labels.recognised(synsets[:10]) == tuple(synsets[:10])
