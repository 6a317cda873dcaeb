"""Input tensors in system shared memory: requests carry references instead of data.

For tensors so large that sending them is what would be measured. A block is named as the local
server's are, after the process that made it: the next start finds what a killed one left behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from analyzer.triton import http_api
from analyzer.triton.local import SHARED_MEMORY, own_shm_name, remove_leftovers
from profiles.errors import InputError, SurroundingsError

ALIGNMENT = 64  # bytes: of each tensor, as vector instructions like it


@dataclass(frozen=True)
class Place:
    """Where Triton finds a tensor."""

    region: str  # the name under which Triton knows the block
    offset: int
    size_bytes: int


class Blocks:
    """A shared memory block with the tensors of the current requests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._url = ""

    def place(self, url: str, tensors: Sequence[bytes]) -> list[Place]:
        """Replace the block's tensors, and register it at the server at `url` (host:port).

        Raises
        ------
        InputError
            The server cannot see this machine's shared memory, or there is not enough of it.
        SurroundingsError
            The server does not answer.
        """
        self.clear()
        name = f"{own_shm_name()}-inputs"
        places, end = [], 0
        for tensor in tensors:
            places.append(Place(name, end, len(tensor)))
            end += -(-len(tensor) // ALIGNMENT) * ALIGNMENT
        self._path, self._url = self._directory / name, url
        try:
            free = os.statvfs(self._directory)
            if end > free.f_bavail * free.f_frsize:  # writing to it would be a bus error later
                raise OSError(0, f"{end} bytes needed, more than is free")
            created = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(created, "wb") as block:
                for place, tensor in zip(places, tensors, strict=True):
                    block.seek(place.offset)
                    block.write(tensor)
                block.truncate(max(end, 1))
        except OSError as error:
            raise InputError(f"--shared-memory: {self._directory}: {error.strerror}") from None
        body = {"key": f"/{name}", "offset": 0, "byte_size": max(end, 1)}
        try:
            http_api.request(url, "POST", f"/v2/systemsharedmemory/region/{name}/register", body)
        except http_api.RefusedError as error:
            raise InputError(
                f"--shared-memory: Triton at {url} cannot access this machine's shared memory "
                f"({error}): it must run on this machine, not in a container of its own."
            ) from None
        except OSError as error:
            raise SurroundingsError(f"Triton at {url} does not respond: {error}") from None
        return places

    def clear(self) -> None:
        """Unregister the block and remove it."""
        if self._path is None:
            return
        path, self._path = self._path, None
        with suppress(http_api.RefusedError, OSError):  # a dead server has forgotten it already
            http_api.request(
                self._url, "POST", f"/v2/systemsharedmemory/region/{path.name}/unregister"
            )
        path.unlink(missing_ok=True)


@contextmanager
def open_blocks(directory: Path = SHARED_MEMORY) -> Iterator[Blocks]:
    """Blocks that are gone after the `with` block, and with them what a killed run left."""
    remove_leftovers()
    blocks = Blocks(directory)
    try:
        yield blocks
    finally:
        blocks.clear()
