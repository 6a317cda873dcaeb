"""Files that the user names for results: whole or not at all, and never in place of a device.

A file is made beside its target and renamed over it, so that a reader never sees half of one. What
is not a regular file cannot be replaced so: a device or a pipe is written into.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from profiles.errors import InputError


def check(path: Path) -> None:
    """Raise InputError when `write_text` could not write there, before long work begins."""
    found = _status(path)
    if found is None:
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise InputError(f"{path}: cannot be written: there is no directory {folder}.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{path}: cannot be written: {folder} is not writable.")
        return
    for kind, words in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a disk"),
    ):
        if kind(found.st_mode):
            raise InputError(f"{path}: is {words}; name a file to write.")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 as `write_bytes` does; raises InputError when it cannot be written."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a regular or new file whole or not at all; into a device, a pipe or stdout as it is.

    Symbolic links are followed; a file that is replaced keeps its mode and, where that is allowed,
    its owner. Raises InputError when it cannot be written.
    """
    check(path)
    found = _status(path)
    try:
        if found is not None and _is_stream(found, 1):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        elif found is None or stat.S_ISREG(found.st_mode):
            _replace(Path(os.path.realpath(path)), content, found)
        else:
            with path.open("wb") as stream:
                stream.write(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # a null character in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be written: {reason}.") from None


def _is_stream(found: os.stat_result, descriptor: int) -> bool:
    with suppress(OSError):  # it is closed
        return os.path.samestat(found, os.fstat(descriptor))
    return False


def _replace(target: Path, content: bytes, old: os.stat_result | None) -> None:
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(content)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
