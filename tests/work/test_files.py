"""Files that the user names: whole or not at all, and never in place of a link or device."""

import errno
import os
from pathlib import Path

import pytest

from lowres.work import files
from lowres.work.files import write_output


def test_an_output_is_written_with_its_folder(tmp_path):
    write_output(tmp_path / "new" / "pairs.csv", b"1")
    write_output(tmp_path / "new" / "pairs.csv", b"2")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.csv"]
    assert (tmp_path / "new" / "pairs.csv").read_bytes() == b"2"


def test_a_full_disk_leaves_what_was_there_and_names_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "pairs.csv").write_bytes(b"before")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_output(tmp_path / "pairs.csv", b"after")
    assert str(error.value.filename).startswith(str(tmp_path / "pairs.csv"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_links_pipes_and_devices_stay(tmp_path):
    """As root, a rename would replace /dev/null for all programs."""
    (tmp_path / "real.csv").write_bytes(b"")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_output(tmp_path / "link.csv", b"1")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"1"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_output(tmp_path / "pipe", b"2")
    assert os.read(reader, 10) == b"2"
    os.close(reader)
    write_output(Path("/dev/null"), b"3")
    assert Path("/dev/null").is_char_device()
