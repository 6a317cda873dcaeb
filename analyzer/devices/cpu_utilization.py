"""How busy this host's processors are, with whatever runs on them."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BusyShare:
    """The share of the processors' time that was used since this was made."""

    def __init__(self) -> None:
        self._start_s, self._idle_s = time.monotonic(), idle_s()

    def now(self) -> float:
        """From 0 to 1."""
        offered_s = (time.monotonic() - self._start_s) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, 1 - (idle_s() - self._idle_s) / max(offered_s, 1e-9)))


def idle_s() -> float:
    """Seconds for which this host's processors had nothing to do, summed over them, since boot."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    idle, io_wait = first.split()[4:6]  # proc(5)
    return (int(idle) + int(io_wait)) / TICKS_PER_S
