"""Device types: what a GPU, a MIG slice or a CPU host offers, and what it costs."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from profiles.errors import InputError
from profiles.mig import MigProfile

MIB = 2**20
MOST_BYTES = 10**15  # a petabyte: more is a slip of the pen, not the memory of a device


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
