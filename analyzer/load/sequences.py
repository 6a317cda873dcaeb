"""Requests of stateful models: position in a sequence, and where the sequence id is written.

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
    """Position of a request in its sequence, and the offset of the id in its bytes."""

    starts: bool
    ends: bool
    id_at: int
    id_form: Literal["decimal", "varint"]
    idle_limit_s: float = 1.0  # the server gives up a sequence that rests for longer

    def stamped(self, body: bytes, identity: int) -> bytes:
        """The bytes with the sequence id written at its offset."""
        written = b"%d" % identity if self.id_form == "decimal" else varint(identity)
        return b"".join((body[: self.id_at], written, body[self.id_at + len(written) :]))


def lengths(mean: int) -> tuple[int, ...]:
    """Sequence lengths around the mean, ±20 %, so that sequences do not run in step."""
    return tuple(max(1, round(mean * part)) for part in (1.0, 0.8, 1.2, 0.9, 1.1))


def varint(number: int) -> bytes:
    """A protobuf varint: seven bits per byte, lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
