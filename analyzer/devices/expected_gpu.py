"""Whether a GPU is expected here: then falling back to the CPU is an error."""

from __future__ import annotations

import os
from pathlib import Path

from profiles.errors import SurroundingsError


def evidence(devices: Path = Path("/dev")) -> str | None:
    """Evidence that this machine or container has a GPU; None without any.

    The driver's device files, or the variable by which NVIDIA's device plugin and container toolkit
    name a container's devices. NVIDIA's images set it to `all`, whether there are any or not.
    """
    named = os.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    if named not in {"", "all", "none", "void"}:
        return f"NVIDIA_VISIBLE_DEVICES is {named}"
    found = sorted(devices.glob("nvidia[0-9]*"))
    return f"there is {found[0]}" if found else None


def allow_cpu(choice: str, reason: str) -> None:
    """Return if the CPU may be measured instead: `auto` where no GPU is expected.

    Raises
    ------
    SurroundingsError
        A GPU was requested or is expected; `reason` says why none can be used.
    """
    source = evidence() if choice == "auto" else f"--gpus {choice} was requested"
    if source is not None:
        raise SurroundingsError(
            f"{source}, but {reason}. See `nvidia-smi` here, the driver and (on Kubernetes) the "
            "device plugin's MIG strategy; --gpus none measures the CPU"
        )
