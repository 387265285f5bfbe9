"""Files that survive a crash: written whole or not at all; hashed; locked.

When a function of this module has written a file, its bytes and its name have reached the disk.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MANY_FILES = 100
"""From this number on, `sync_tree` syncs the file system. Syncing one file takes milliseconds."""


def write_json(path: Path, record: object) -> None:
    """Write a record as JSON; after a crash or a power cut, `path` is whole or as it was."""
    write_bytes(path, json_bytes(record))


def write_json_once(path: Path, record: object) -> None:
    """Write a record as JSON unless `path` exists; several processes may try at once."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
    _write_synced(temporary, json_bytes(record))
    claim(temporary, path)
    sync(path.parent)


def json_bytes(record: object) -> bytes:
    """Return a record as JSON."""
    return f"{json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Add a path to errors of the system that name none, such as those of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_bytes(path: Path, data: bytes, *, earlier: Path | None = None) -> None:
    """Write bytes; after a crash or a power cut, `path` is whole or as it was.

    Args:
        path: the file.
        data: its bytes.
        earlier: name that the file which is replaced gets. After a crash, it may have this name
            already while `path` is missing.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    _write_synced(temporary, data)
    if earlier is not None and path.exists():
        path.replace(earlier)
    temporary.replace(path)
    sync(path.parent)


def write_output(path: Path, data: bytes) -> None:
    """Write a file whose name the user gave, whole or not at all; make its folder if needed.

    A link, pipe or device such as `/dev/stdout` is written in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with named(path):
            path.write_bytes(data)
    else:
        write_bytes(path, data)


def _write_synced(path: Path, data: bytes) -> None:
    """Write a new file to the disk; if that fails, remove it."""
    try:
        with named(path), path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they exist; their names have reached the disk."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        with suppress(PermissionError):  # the right to list the folder above is not needed
            sync(folder.parent)


def sync_data(descriptor: int) -> None:
    """Wait until the bytes of an open file have reached the disk."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder with everything in it, has reached the disk.

    Many files are synced by one call for their whole file system where there is such a call.
    """
    inside = list(path.rglob("*")) if path.is_dir() else []
    if len(inside) > MANY_FILES and _sync_file_system(path):
        return
    for one in (*inside, path):
        if not one.is_symlink():
            sync(one)


def _sync_file_system(path: Path) -> bool:
    """Sync the file system of a path, and return whether this system can do that."""
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
    return True


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, have reached the disk.

    Folders on network file systems that cannot sync them are skipped.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise OSError(error.errno, error.strerror, str(path)) from error
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
def held(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Lock a file or folder, and yield whether it was free.

    The lock ends with the block or the process. On a file system without locks, every file is
    free, and a warning says so, once for each file system.

    Args:
        path: the file or folder.
        shared: allow other shared locks at the same time.
        wait: wait until it is free.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)  # NFS locks only what may be written
    except OSError:  # a folder, or no right to write
        descriptor = os.open(path, os.O_RDONLY)
    free = True
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError as error:  # NFS and others refuse some locks, or all
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            os.close(descriptor)
            raise
        _warn_of_no_locks(path, os.fstat(descriptor).st_dev, error)
    try:
        yield free
    finally:
        os.close(descriptor)


class NoLocksWarning(UserWarning):
    """A file system has no locks, so two processes may do the same work at the same time."""


_without_locks: set[int] = set()


def _warn_of_no_locks(path: Path, device: int, error: OSError) -> None:
    if device not in _without_locks:
        _without_locks.add(device)
        warnings.warn(
            f"the file system of {path} has no locks ({error.strerror}): lowres cannot see whether "
            "another process works on it, so start one process at a time",
            NoLocksWarning,
            stacklevel=4,
        )
