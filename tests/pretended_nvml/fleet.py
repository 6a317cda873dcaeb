"""Builds the pretended NVML and sets up its fleet."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
HEADER_PACKAGE = "nvidia-nvml-dev==13.5.37"
LIBRARY = "libnvidia-ml.so.1"  # the name under which nvidia-ml-py looks for it

NO_UTILIZATION, NO_PROCESSES, NO_ENERGY, NO_SAMPLES = 1, 2, 4, 8
NO_MEMORY_V2, GPM, GUARDED = 16, 32, 64  # guarded: what only root may read is refused
SHARED, OLD_DRIVER, NO_PROCESS_MEMORY, MIG = 128, 256, 512, 1024
ODD_CLOCK, ODD_SAMPLES = 2048, 4096  # buffered samples that cannot be taken as they are
NO_PERMISSION, GPU_IS_LOST, UNKNOWN = 4, 15, 999  # nvmlReturn_t


def build(cache: Path) -> Path:
    """The library, compiled against NVIDIA's header; kept for the next call.

    Raises CalledProcessError when there is no compiler or no package index.
    """
    recipe = hashlib.sha256(SOURCE.read_bytes() + HEADER_PACKAGE.encode()).hexdigest()[:12]
    directory = cache / f"pretended-nvml-{recipe}"
    library = directory / LIBRARY
    if library.exists():
        return library
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--dest", work, HEADER_PACKAGE], check=True)
        (wheel,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("/nvml.h")]
            (Path(work) / "nvml.h").write_bytes(archive.read(name))
        made = Path(work) / LIBRARY
        compile_ = ["cc", "-shared", "-fPIC", "-O2", "-Wall", f"-Wl,-soname,{LIBRARY}"]
        subprocess.run([*compile_, f"-I{work}", "-o", str(made), str(SOURCE)], check=True)
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{LIBRARY}.{time.monotonic_ns()}"
        partial.write_bytes(made.read_bytes())
        partial.replace(library)  # whole or not at all
    return library


@dataclass(frozen=True)
class Fleet:
    """A pretended fleet; PRETENDED_NVML_STATE names its file, in each process that sees it."""

    library: ctypes.CDLL

    def reset(self) -> None:
        """No GPUs at all."""
        self.library.pretended_reset()

    def add_gpu(
        self,
        name: str = "Tesla T4",
        uuid: str | None = None,
        memory_bytes: int = 16_000_000_000,
        reserved_bytes: int = 0,
        parent: int = -1,
        flags: int = 0,
        idle_w: float = 30.0,
        busy_w: float = 70.0,
    ) -> int:
        """Add a GPU, or a MIG slice of `parent`; returns its number."""
        uuid = uuid or f"GPU-{hashlib.sha256(f'{name}{time.time_ns()}'.encode()).hexdigest()[:12]}"
        return int(
            self.library.pretended_add_gpu(
                name.encode(),
                uuid.encode(),
                ctypes.c_uint64(memory_bytes),
                ctypes.c_uint64(reserved_bytes),
                parent,
                flags,
                int(idle_w * 1000),
                int(busy_w * 1000),
            )
        )

    def set(self, gpu: int, fault: int = 0, throttles: int = 0) -> None:
        """What every call on the GPU returns (0: success), and what holds its clocks down."""
        self.library.pretended_set(gpu, fault, ctypes.c_uint64(throttles))

    def hold(self, gpu: int, pid: int, memory_bytes: int) -> bool:
        """Let a process hold memory; False when the GPU has not so much."""
        return bool(self.library.pretended_hold(gpu, pid, ctypes.c_uint64(memory_bytes)))

    def draw(self, gpu: int, pid: int, memory_bytes: int) -> bool:
        """The same, of a process that draws, such as a display's."""
        return bool(self.library.pretended_draw(gpu, pid, ctypes.c_uint64(memory_bytes)))

    def busy(
        self, gpu: int, seconds: float, memory_percent: int = 0, pid: int | None = None
    ) -> None:
        """A process, this one by default, kept the GPU busy for the seconds up to now."""
        now_us = time.time_ns() // 1000
        self.library.pretended_busy_by(
            gpu,
            os.getpid() if pid is None else pid,
            ctypes.c_uint64(now_us - int(seconds * 1e6)),
            ctypes.c_uint64(now_us),
            memory_percent,
        )
