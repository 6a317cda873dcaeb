"""Whether this machine or container was given a GPU: measuring the CPU would be a surprise then."""

from __future__ import annotations

import os
from pathlib import Path

from profiles.errors import SurroundingsError


def given(devices: Path = Path("/dev")) -> str | None:
    """What tells that there is a GPU, if anything does.

    The driver's device files, or the variable by which NVIDIA's device plugin and container toolkit
    name a container's devices. NVIDIA's images set it to `all`, whether there are any or not.
    """
    named = os.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    if named not in {"", "all", "none", "void"}:
        return f"NVIDIA_VISIBLE_DEVICES is {named}"
    found = sorted(devices.glob("nvidia[0-9]*"))
    return f"there is {found[0]}" if found else None


def insist(choice: str, reason: str) -> None:
    """Return if no GPU will do: `auto` where none was given.

    Raises
    ------
    SurroundingsError
        A GPU was asked for or given; `reason` tells why none is used.
    """
    source = given() if choice == "auto" else f"--gpus {choice} was asked for"
    if source is not None:
        raise SurroundingsError(
            f"{source}, but {reason}. See `nvidia-smi` here, the driver and (on Kubernetes) the "
            "device plugin's MIG strategy; --gpus none measures the CPU"
        )
