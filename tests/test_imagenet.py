"""The two orders of ImageNet's classes, against facts that others have published."""

import csv
import hashlib
from collections import Counter

import pytest

from lowres import imagenet
from lowres.errors import SourceError


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_table_is_the_scripts_own():
    """It is map_clsloc.txt of the authors' scripts, to the byte."""
    by_devkit = sorted(imagenet.imagenet_classes(), key=lambda known: known.devkit_id)
    lines = "".join(f"{c.wnid} {c.devkit_id} {c.word}\n" for c in by_devkit)
    assert sha256(lines) == "1dd44b44b70cbdb05781d3b49851bfa25a82486f47b2957a29eac1f98da4441d"


def test_known_classes():
    assert imagenet.wnids() == tuple(sorted(imagenet.devkit_wnids()))
    assert imagenet.find("n02119789") == ("n02119789", 1, 278, "kit_fox")
    assert imagenet.find("n02100735") == ("n02100735", 2, 212, "English_setter")
    assert imagenet.find("n02110185") == ("n02110185", 3, 250, "Siberian_husky")
    assert imagenet.find("n03255030")[1::2] == (1000, "dumbbell")
    tench = imagenet.imagenet_classes()[0]
    assert tench == ("n01440764", 449, 0, "tench")
    assert imagenet.find("n00000000") is None


def test_no_class_has_one_position_in_both_orders():
    for known in imagenet.imagenet_classes():
        assert known.devkit_id - 1 != known.sorted_index


def test_words_are_not_unique():
    words = Counter(known.word for known in imagenet.imagenet_classes())
    assert {word for word, times in words.items() if times > 1} == {"crane", "maillot"}


def test_the_table_is_the_shared_one(shared):
    with (shared / "ilsvrc2012_classes.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        assert imagenet.find(row["wnid"]) == (
            row["wnid"],
            int(row["devkit_id"]),
            int(row["sorted_index"]),
            row["word"],
        )
    assert len(rows) == len(imagenet.imagenet_classes()) == 1000


def test_imagenet16_120_is_nas_bench_201s():
    names = imagenet.expanded(["imagenet16-120"], imagenet.wnids())
    assert sha256("\n".join(names)) == (
        "5d22de646789d6179ccdea3e1fc65d84bf2e6797691ad62ad74f55d5604514a6"
    )
    positions = [imagenet.find(name).sorted_index for name in names]
    assert (min(positions), max(positions)) == (147, 387)
    assert names == imagenet.expanded(["devkit:1-120"], imagenet.wnids())
    assert len(imagenet.expanded(["imagenet16-150"], imagenet.wnids())) == 150
    assert len(imagenet.expanded(["imagenet16-200"], imagenet.wnids())) == 200


def test_ranges_of_labels_are_for_any_source():
    names = ("pear", "apple", "fig")
    assert imagenet.expanded(["sorted:0-1"], names) == ("pear", "apple")
    assert imagenet.expanded(["pear", "sorted:2-2"], names) == ("pear", "fig")
    assert imagenet.expanded(["sorted:0-0"], imagenet.wnids()) == ("n01440764",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devkit:1-2", r"needs ImageNet's classes, named by WNID; .*pear, apple, fig"),
        ("imagenet16-120", "needs ImageNet's classes"),
        ("sorted:0-3", "must lie between sorted:0 and sorted:2"),
        ("sorted:2-1", "the smaller number first"),
    ],
)
def test_ranges_that_do_not_fit(text, words):
    with pytest.raises(SourceError, match=words):
        imagenet.expanded([text], ("pear", "apple", "fig"))


def test_devkit_range_ends():
    assert imagenet.expanded(["devkit:1000-1000"], imagenet.wnids()) == ("n03255030",)
    for text in ("devkit:0-5", "devkit:1-1001"):
        with pytest.raises(SourceError, match="between devkit:1 and devkit:1000"):
            imagenet.expanded([text], imagenet.wnids())


def test_devkit_ids_only_for_imagenet():
    assert imagenet.devkit_ids(["n01440764", "n02119789"]) == (449, 1)
    assert imagenet.devkit_ids(["n01440764", "cat"]) is None
    assert imagenet.devkit_ids([]) is None


def test_overlapping_choices_are_joined():
    names = ("a", "b", "c")
    assert imagenet.expanded(["sorted:0-1", "b", "c"], names) == ("a", "b", "c")
    assert imagenet.named("crane") == ("n02012849", "n03126707")


def test_names_in_words_are_recognised_in_their_order_only():
    synsets = [f"{c.word.replace('_', ' ')}, other name" for c in imagenet.imagenet_classes()]
    assert imagenet.recognised(synsets) == imagenet.wnids()
    assert imagenet.recognised(synsets[::-1]) == tuple(synsets[::-1])
    assert imagenet.recognised(synsets[:10]) == tuple(synsets[:10])


def test_a_few_names_may_differ():
    words = [known.word for known in imagenet.imagenet_classes()]
    most = round((1 - imagenet.RECOGNISED_SHARE) * len(words))
    assert imagenet.recognised(["?"] * most + words[most:]) == imagenet.wnids()
    assert imagenet.recognised(["?"] * (most + 1) + words[most + 1 :]) != imagenet.wnids()


def test_a_wnid_is_shown_with_its_word():
    assert imagenet.with_word("n01440764") == "n01440764 tench"
    assert imagenet.with_word("tench") == "tench"
