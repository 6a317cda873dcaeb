"""What tells a model's files from another's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

WHOLE_FILE_BYTES = 1 << 20  # larger files: size and both ends, so that 100 GB take no minutes


def model_digest(model: Path) -> str:
    """A digest of a model's directory: names, sizes and contents of its files.

    Of a file over 1 MiB the size and the first and last half MiB count. Dates do not, so that a
    fresh clone or another machine's copy is the same model.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        if "__pycache__" in path.parts:
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(model)}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= WHOLE_FILE_BYTES:
                digest.update(file.read())
            else:
                digest.update(file.read(WHOLE_FILE_BYTES // 2))
                file.seek(-(WHOLE_FILE_BYTES // 2), 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]


def composed_digest(own: str, members: Mapping[str, str]) -> str:
    """The digest of a model together with those that it is composed of; `own` without any."""
    if not members:
        return own
    digest = hashlib.sha256(own.encode())
    for name, theirs in sorted(members.items()):
        digest.update(f"\0{name}\0{theirs}".encode())
    return digest.hexdigest()[:16]
