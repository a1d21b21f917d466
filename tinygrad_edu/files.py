"""Files read and written whole: whatever fails while one is written, the one before it stays."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write; it takes the place of `path`, in one move, when it is complete and on the disk.

    If anything goes wrong on the way, what was at `path` is still there, and nothing else. A link is followed, and a
    file that is replaced hands on its permissions. Raises OSError in one line: the path, and the system's reason.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}")
    try:
        _refuse_to_replace(target)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        sync(target.parent)
    except OSError as error:
        raise _told(error, f"cannot write {path}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """The content of a file, of at most so many bytes. Raises OSError in one line; a pipe, which may never end, too."""
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no ordinary file")
        if most is not None and target.stat().st_size > most:
            raise OSError(errno.EFBIG, f"it is too big: {target.stat().st_size:,} bytes")
        return target.read_bytes()
    except OSError as error:
        raise _told(error, f"cannot read {path}") from None


def _told(error: OSError, doing: str) -> OSError:
    """The same error in one line that says what was being done."""
    told = type(error)(f"{doing}: {error.strerror or error}")
    told.errno = error.errno
    return told


def _refuse_to_replace(target: Path) -> None:
    """A folder, a device, and a file that its owner has made read-only are not replaced."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "it is there, and no ordinary file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def sync(folder: Path) -> None:
    """Force the names in a folder onto the disk. Windows does so by itself, and opens no folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
