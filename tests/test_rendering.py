"""Entries to rows: errors that name the entry."""

import pytest

from lowres import builder, rendering
from lowres.errors import SourceError
from lowres.options import BuildOptions


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_picture_beyond_the_memory_is_named_and_never_skipped(
    tmp_path, source, monkeypatch, on_error
):
    """It may fit the next time, and rows must not depend on that."""

    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(rendering, "decode_for", too_large)
    with pytest.raises(SourceError, match=r"ant/00\.jpg needs more memory .* fewer --workers"):
        builder.build(
            source, tmp_path / "store", BuildOptions(size=(8,)), on_error=on_error, workers=1
        )
