"""Pickled messages over the pipes between this program's own processes."""

from __future__ import annotations

import os
import pickle
import struct

LENGTH = struct.Struct("<I")


def read_message(stream: int) -> object:
    """The next pickle from a pipe; EOFError at its end."""
    head = _read(stream, LENGTH.size)
    return pickle.loads(_read(stream, LENGTH.unpack(head)[0]))  # noqa: S301 - our own pipe


def write_message(stream: int, message: object) -> None:
    """Send a pickle through a pipe."""
    body = pickle.dumps(message)
    view = memoryview(LENGTH.pack(len(body)) + body)
    while view:
        view = view[os.write(stream, view) :]


def _read(stream: int, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = os.read(stream, size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts
