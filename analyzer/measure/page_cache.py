"""Takes files out of the kernel's page cache, so that they are read from the disk again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def drop(folders: Iterable[Path]) -> None:
    """Drop the pages of all files in these folders; those that are open for writing may stay.

    It is advice (posix_fadvise(2)): a file system in memory has nowhere else to keep them.
    """
    for folder in folders:
        for path in folder.rglob("*"):
            if not path.is_file():
                continue
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
