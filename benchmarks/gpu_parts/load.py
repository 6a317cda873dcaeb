"""A process that uses the GPU in a known way, until its input closes.

    load.py context            a context with cuBLAS and cuDNN, and next to no memory
    load.py hold BYTES         the same, and so much memory
    load.py busy SHARE fill    kernels that fill the GPU, for a share of the time
    load.py busy SHARE one     kernels of one block, thus on one multiprocessor

It says on a line when it has begun, what PyTorch has reserved, and when it ends how much of the
time its kernels ran. With PRETENDED_NVML_LIBRARY it enters the same with the pretended NVML.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import sys
import time

PERIOD_S = 0.02  # a duty cycle: short beside the driver's windows of 1/6 s
CONTEXT_BYTES = 300_000_000  # pretended


def tell(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def over() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


class Pretended:
    """The pretended GPU."""

    def __init__(self, library: str) -> None:
        self.library = ctypes.CDLL(library)

    def hold(self, amount: int) -> int:
        self.library.pretended_hold(0, os.getpid(), ctypes.c_uint64(CONTEXT_BYTES + amount))
        return amount

    def busy(self, share: float, how: str) -> float:
        self.library.pretended_fill(0, 100 if how == "fill" else 1)
        self.hold(0)
        start_s = last_s = time.time()
        worked_s = 0.0
        while not over():
            time.sleep(PERIOD_S)
            now_s = time.time()
            end_s = last_s + share * (now_s - last_s)
            self.library.pretended_busy(
                0, ctypes.c_uint64(int(last_s * 1e6)), ctypes.c_uint64(int(end_s * 1e6)), 10
            )
            worked_s += end_s - last_s
            last_s = now_s
        self.library.pretended_fill(0, 100)
        return worked_s / (last_s - start_s)


class Real:
    """The first GPU, by PyTorch."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        x = torch.zeros(1, 8, 32, 32, device="cuda")
        torch.nn.functional.conv2d(x, torch.zeros(8, 8, 3, 3, device="cuda"))
        self.matrix = torch.zeros(4096, 4096, device="cuda", dtype=torch.float16)
        (self.matrix[:64, :64] @ self.matrix[:64, :64]).sum().item()

    def hold(self, amount: int) -> int:
        del self.matrix
        self.torch.cuda.empty_cache()
        self.kept = self.torch.empty(amount, dtype=self.torch.uint8, device="cuda")
        return int(self.torch.cuda.memory_reserved())

    def busy(self, share: float, how: str) -> float:
        torch = self.torch
        result = torch.empty_like(self.matrix)

        def work(count: int) -> None:
            if how == "one":
                torch.cuda._sleep(count * 10_000)  # one block that counts cycles
                return
            for _ in range(count):
                torch.mm(self.matrix, self.matrix, out=result)

        def timed(count: int) -> float:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work(count)
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1000

        timed(50)
        each_s = timed(200) / 200
        count = max(1, round(share * PERIOD_S / each_s))
        start_s = time.monotonic()
        worked_s = 0.0
        while not over():
            cycle_s = time.monotonic()
            spent_s = timed(count)
            worked_s += spent_s
            if share < 1:
                time.sleep(max(0.0, cycle_s + spent_s / share - time.monotonic()))
        return worked_s / (time.monotonic() - start_s)


def main() -> None:
    what, *words = sys.argv[1:]
    library = os.environ.get("PRETENDED_NVML_LIBRARY")
    gpu = Pretended(library) if library else Real()
    if what == "busy":
        tell(began=True)
        tell(busy_share=gpu.busy(float(words[0]), words[1]))
        return
    tell(reserved_bytes=gpu.hold(int(words[0]) if words else 0))
    sys.stdin.read()


if __name__ == "__main__":
    main()
