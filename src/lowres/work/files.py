"""Files that survive: written whole or not at all, hashed, held against others.

A file that is called written has reached the disk, and so has its name in the folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_json(path: Path, record: object) -> None:
    """Write a record as JSON; after a crash or a power cut, `path` is whole or as it was."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes; after a crash or a power cut, `path` is whole or as it was."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, have reached the disk.

    Some network file systems cannot sync a folder; that is ignored.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def claim(temporary: Path, path: Path) -> None:
    """Rename a whole file to `path`; if another process made `path` first, remove ours."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            temporary.rename(path)
            return
    temporary.unlink()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Lock a file or folder, and yield whether it was free.

    The lock ends with the process, however that ends. File systems without locks always
    report a free file.

    Args:
        path: the file or folder.
        shared: allow other shared locks at the same time.
    """
    descriptor = os.open(path, os.O_RDONLY)
    free = True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError as error:  # NFS and others refuse some locks, or all
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            os.close(descriptor)
            raise
    try:
        yield free
    finally:
        os.close(descriptor)
