"""The plan of a build: what is said where it changed."""

import pytest

from images import draw_source
from lowres.errors import SourceError, StoreError
from lowres.store import build as builder
from lowres.store.options import BuildOptions


def test_images_with_odd_names_that_came_or_went_are_named(tmp_path):
    source = draw_source(tmp_path / "animals")
    odd = source / "train" / "ant" / "a\rb.jpg"
    (source / "train" / "ant" / "00.jpg").rename(odd)
    (source / "train" / "bee" / "00.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        builder.build(source, tmp_path / "store", BuildOptions(size=(8,)))
    odd.rename(odd.with_name("c\u2028\x85.jpg"))
    words = (
        "others: train/ant/c\u2028\x85.jpg .class ant.: new; train/ant/a\rb.jpg .class ant.: gone"
    )
    with pytest.raises(StoreError, match=words):
        builder.build(source, tmp_path / "store", BuildOptions(size=(8,)))
