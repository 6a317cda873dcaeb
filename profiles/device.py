"""Device types: what a GPU, a MIG slice or a CPU host offers, and what it costs."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from profiles.errors import InputError

MIB = 2**20
MOST_BYTES = 10**15  # a petabyte: more is a slip of the pen, not the memory of a device


@dataclass(frozen=True)
class MigProfile:
    """A kind of slice that a GPU can be cut into."""

    profile: str  # such as 1g.5gb
    memory_bytes: int
    size: int  # memory slices that it takes
    starts: tuple[int, ...]  # first memory slices at which it may be placed


@dataclass(frozen=True)
class DeviceType:
    """A kind of device. A CPU host is one too: memory is its RAM, utilization its cores."""

    name: str  # as NVML says it, such as "Tesla T4"; CPU hosts: the CPU's model name and cores
    memory_bytes: int
    kind: Literal["gpu", "mig", "cpu"] = "gpu"
    price_per_hour: float = 1.0  # any currency; the user may override it
    power_w: float | None = None  # the board's limit
    cores: int | None = None  # CPU hosts only
    mig: tuple[MigProfile, ...] = ()

    def slice_name(self, profile: str) -> str:
        """A slice's device type, as NVML says it: the GPU's name, then `MIG 1g.5gb`."""
        return f"{self.name} MIG {profile}"


@cache
def known_devices() -> dict[str, DeviceType]:
    """The device types of `devices.yaml`, by name."""
    text = Path(__file__).with_name("devices.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return {
        row["name"]: DeviceType(
            name=row["name"],
            memory_bytes=int(row["memory_mib"] * MIB),
            price_per_hour=row["price_per_hour"],
            power_w=row.get("power_w"),
            mig=tuple(
                MigProfile(m["profile"], m["memory_mib"] * MIB, m["size"], tuple(m["starts"]))
                for m in row.get("mig", ())
            ),
        )
        for row in document["devices"]
    }


def find_device(name: str) -> DeviceType:
    """The known type of this name; InputError with the nearest names when there is none."""
    known = known_devices()
    for other, device in known.items():
        if name.casefold() in {other.casefold(), other.removeprefix("NVIDIA ").casefold()}:
            return device
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    raise InputError(
        f"Unknown device type {name!r}.{hint} A fleet file may define any: "
        f"`- {{device: {name}, memory: 16GB}}`."
    )


def partitions(profiles: tuple[MigProfile, ...]) -> tuple[tuple[str, ...], ...]:
    """Every largest legal set of slices: none overlap, and none is part of another set."""
    found: set[tuple[str, ...]] = set()

    def extend(taken: frozenset[int], chosen: tuple[str, ...]) -> None:
        full = True
        for profile in profiles:
            for start in profile.starts:
                slots = frozenset(range(start, start + profile.size))
                if not slots & taken:
                    full = False
                    # Only slices right of the last: each set is reached in one order.
                    if not taken or start > max(taken):
                        extend(taken | slots, (*chosen, profile.profile))
        if full:
            found.add(tuple(sorted(chosen)))

    extend(frozenset(), ())
    return largest(found)


def largest(sets: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The sets (with repetition) that are part of no other, each sorted."""
    counts = {tuple(sorted(s)): Counter(s) for s in sets}
    return tuple(
        sorted(
            s
            for s, count in counts.items()
            if s and not any(count < other for other in counts.values())
        )
    )


def parse_bytes(text: str | float) -> int:
    """Bytes of `16GB` (decimal), `16GiB` (binary), `512 MB` or a plain number of bytes.

    Raises ValueError for anything else, for less than a byte and for more than MOST_BYTES.
    """
    match = re.fullmatch(
        r"\s*(\d+\.?\d*|\.\d+)(?:e\+?(\d{1,3}))?\s*([kmgt]?)(i?)b?\s*", str(text), re.IGNORECASE
    )
    if not match:
        raise ValueError(f"{text!r} is not an amount of memory, e.g. 16GB or 15360MiB")
    number, exponent, prefix, binary = match.groups()
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    unit = (1024 if binary else 1000) ** power
    amount = Decimal(number).scaleb(int(exponent or 0)) * unit
    if amount > MOST_BYTES:
        raise ValueError(f"{text!r} is more memory than any device has")
    if amount < 1:
        raise ValueError(f"{text!r} is no memory at all")
    return int(amount)
