"""A file that says that a part of the work is done, for whoever waits on the same volume."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from profiles.errors import InputError, SurroundingsError

POLL_S = 1.0  # a volume of the network shows another node's new file some seconds late anyway


def clear(path: Path) -> None:
    """Remove the file if it is there, and make its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None


def make(path: Path) -> None:
    """Make the file."""
    try:
        path.touch()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None


def wait(paths: Sequence[Path], limit_s: float, say: Callable[[str], None]) -> None:
    """Return when every file is there.

    Raises
    ------
    SurroundingsError
        Some were not made in time; it names them.
    """
    ends = time.monotonic() + limit_s
    told = -1
    while True:
        waiting = [path for path in paths if not path.exists()]
        if not waiting:
            return
        if time.monotonic() >= ends:
            raise SurroundingsError(
                f"{len(waiting)} of {len(paths)} parts did not end within {limit_s:g} s: no "
                f"{', '.join(map(str, waiting))}. See their logs; --wait-limit waits longer."
            )
        if len(waiting) != told:
            told = len(waiting)
            say(f"{len(paths) - told} of {len(paths)} parts are done.")
        time.sleep(min(POLL_S, max(0.01, ends - time.monotonic())))
