"""The content hash: what it depends on, and that others can compute it from its description."""

import hashlib

import numpy as np

import lowres
from lowres.store.content import content_hash, image_digests
from lowres.store.options import BuildOptions

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 1, 0, 1, 0])


def test_it_is_what_the_documents_say():
    lines = sorted(
        f"train\0{'ab'[label]}\0{hashlib.sha256(image.tobytes()).hexdigest()}\n".encode()
        for label, image in zip(LABELS, IMAGES, strict=True)
    )
    expected = hashlib.sha256(b"4\n" + b"".join(lines)).hexdigest()
    assert content_hash(4, {"train": (LABELS, image_digests(IMAGES))}, "ab") == expected


def hashed(images=IMAGES, labels=LABELS, classes=("a", "b"), split="train"):
    return content_hash(4, {split: (labels, image_digests(images))}, classes)


def test_order_of_images_and_classes_does_not_matter():
    order = np.random.default_rng(1).permutation(6)
    assert hashed(IMAGES[order], LABELS[order]) == hashed()
    assert hashed(labels=1 - LABELS, classes=("b", "a")) == hashed()
    assert hashed(np.asfortranarray(IMAGES)) == hashed()


def test_everything_else_does():
    flipped = IMAGES.copy()
    flipped[3, 2, 1, 0] ^= 1
    others = [
        hashed(flipped),
        hashed(classes=("a", "c")),
        hashed(split="val"),
        hashed(IMAGES[:5], LABELS[:5]),
        hashed(np.concatenate([IMAGES, IMAGES[:1]]), np.append(LABELS, LABELS[:1])),
        hashed(labels=1 - LABELS),
    ]
    assert len({*others, hashed()}) == len(others) + 1


def test_a_store_has_it_for_each_variant(store, source, tmp_path):
    contents = store.manifest.contents
    assert set(contents) == set(store.manifest.variants)
    splits = {
        split: (store.labels(split), image_digests(store.images(split, "16-box")))
        for split in store.splits
    }
    assert contents["16-box"] == content_hash(16, splits, store.classes)
    # Another name of every image, so another order of rows.
    for number, path in enumerate(sorted(source.rglob("*.jpg"), reverse=True)):
        target = tmp_path / "set" / path.relative_to(source).with_name(f"{number:03}.jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    manifest = lowres.build(tmp_path / "set", tmp_path / "store", BuildOptions(size=(16,)))
    assert manifest.contents["16-box"] == contents["16-box"]
    assert manifest.files["train/16-box.npy"] != store.manifest.files["train/16-box.npy"]
