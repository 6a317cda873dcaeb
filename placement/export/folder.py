"""A folder that is ours: made whole or not at all, and never put in a stranger's place."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from profiles.errors import InputError

MARKER = ".model-placer.json"


def replace(target: Path, marker: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    """Fill a new folder and put it in the place of `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp's folder is its owner's alone; a server's user reads this one
        fill(fresh)
        write(fresh / MARKER, json.dumps(marker, indent=2) + "\n")
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check(target: Path, *, force: bool, keep: Path) -> None:
    """Raise InputError when `target` must not be replaced.

    Parameters
    ----------
    target
        The folder that is to be written.
    force
        Whether a folder that is not ours may go.
    keep
        A folder that has to stay, whatever `force` says: the models that are read.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.exists() and not target.is_dir() and not target.is_file():
        raise InputError(f"{target}: is a device, a pipe or a socket; name a folder to make.")
    if keep.resolve().is_relative_to(target.resolve()):
        raise InputError(f"{target} holds the model repository {keep}: choose another output.")
    if force or (target / MARKER).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise InputError(
            f"{target} is there and was not made by Model Placer: choose another output, or "
            "replace it with --force."
        )


def write(path: Path, text: str) -> None:
    """Write a text file as UTF-8 with Unix line ends, whatever the platform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _swap(fresh: Path, target: Path) -> None:
    if not os.path.lexists(target):
        fresh.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    try:
        target.rename(old / target.name)
        try:
            fresh.rename(target)
        except BaseException:
            (old / target.name).rename(target)
            raise
    finally:
        with contextlib.suppress(NotADirectoryError):
            shutil.rmtree(old, ignore_errors=True)
