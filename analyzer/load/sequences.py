"""Requests of stateful models: where a request stands in its sequence, and where its id goes.

A sequence's requests are made ahead but for the sequence's id, which is written into their bytes
as they are sent. Ids have the same number of bytes in either protocol, so nothing else moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Ids fit a model's INT32, and all have ten digits, and five bytes as protobuf's varint.
FIRST_ID, LAST_ID = 1_000_000_000, 2_147_483_647


@dataclass(frozen=True)
class SequenceStep:
    """Where a request stands in its sequence, and where in its bytes the id belongs."""

    starts: bool
    ends: bool
    id_at: int
    id_form: Literal["decimal", "varint"]
    idle_limit_s: float = 1.0  # the server gives up a sequence that rests for longer

    def stamped(self, body: bytes, identity: int) -> bytes:
        """The bytes with the id in its place."""
        written = b"%d" % identity if self.id_form == "decimal" else varint(identity)
        return b"".join((body[: self.id_at], written, body[self.id_at + len(written) :]))


def lengths(mean: int) -> tuple[int, ...]:
    """Lengths of sequences about the mean, a fifth up and down: they are not to keep in step."""
    return tuple(max(1, round(mean * part)) for part in (1.0, 0.8, 1.2, 0.9, 1.1))


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits to a byte, the lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
