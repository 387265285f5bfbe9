"""--class-order devkit: labels as NAS-Bench-201 numbers them."""

import numpy as np
import pytest

import lowres
from images import draw_image, encoded
from lowres.cli.info import describe
from lowres.imagenet import devkit_wnids

WNIDS = ("n02119789", "n02100735", "n01440764")  # devkit ids 1, 2 and 449


@pytest.fixture
def imagenet(tmp_path):
    for number, wnid in enumerate(WNIDS):
        for split in ("train", "val"):
            folder = tmp_path / "images" / split / wnid
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(encoded(draw_image(number, 12, 12), "PNG"))
    return tmp_path / "images"


def test_labels_are_in_devkit_order_and_images_keep_their_rows(imagenet, tmp_path):
    sorted_order = lowres.build(imagenet, tmp_path / "a", lowres.BuildOptions(size=8))
    lowres.build(imagenet, tmp_path / "b", lowres.BuildOptions(size=8, class_order="devkit"))
    first, second = (lowres.open_store(tmp_path / name) for name in "ab")
    assert sorted_order.classes == tuple(sorted(WNIDS))
    assert second.classes == WNIDS
    assert second.devkit_ids == (1, 2, 449)
    assert second.keys("train") == first.keys("train")
    assert np.array_equal(second.images("train", "8-box"), first.images("train", "8-box"))
    assert first.labels("train").tolist() == [0, 1, 2]
    assert second.labels("train").tolist() == [2, 1, 0]
    for store, order in ((first, "sorted WNIDs"), (second, "devkit ids")):
        words = "\n".join(describe(store.path))
        assert f"labels: 0 to 2, in the order of {order}; devkit ids " in words
    assert lowres.compare(tmp_path / "a", tmp_path / "b").same


def test_a_store_is_copied_into_devkit_order_and_back(imagenet, tmp_path):
    lowres.build(imagenet, tmp_path / "a", lowres.BuildOptions(size=8))
    devkit = lowres.BuildOptions(class_order="devkit", classes="imagenet16-120")
    with pytest.raises(lowres.LowresError, match="is not among the 3 classes"):
        lowres.build(tmp_path / "a", tmp_path / "b", devkit)
    devkit = lowres.BuildOptions(class_order="devkit", classes=WNIDS[:2])
    assert lowres.build(tmp_path / "a", tmp_path / "b", devkit).classes == WNIDS[:2]
    assert devkit_wnids()[:2] == WNIDS[:2]


def test_other_classes_and_other_orders_are_refused(source, tmp_path):
    with pytest.raises(lowres.LowresError, match=r"needs ImageNet's classes.*\(ant, bee, cat"):
        lowres.build(source, tmp_path / "x", lowres.BuildOptions(class_order="devkit"))
    with pytest.raises(lowres.LowresError, match="must be one of source, devkit, was 'sorted'"):
        lowres.BuildOptions(class_order="sorted")
