"""What a process tree uses, on processes whose use is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from analyzer.devices.host import (
    HostSampler,
    memory_in_use_bytes,
    memory_limit_bytes,
    process_tree,
    tree_memory_bytes,
)

MIB = 2**20


@contextmanager
def a_process(script: str) -> Iterator[int]:
    """A Python process that has printed a line."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_memory_is_the_trees_and_shared_pages_count_once():
    """300 MiB written, then seen by a forked child as well: 300, not 600."""
    script = (
        "import os, time\n"
        f"held = bytearray(b'x') * (300 * {MIB})\n"
        "if os.fork() == 0: print(flush=True)\n"
        "time.sleep(60)\n"
    )
    with a_process(script) as pid:
        assert len(list(process_tree([pid]))) == 2
        assert 300 * MIB < tree_memory_bytes([pid]) < 400 * MIB
        for child in psutil.Process(pid).children():
            child.kill()


def test_the_cpu_time_of_children_that_ended_stays():
    """A child that spends 0.4 s of CPU time and ends within the span is not forgotten."""
    child = "import time\nwhile time.process_time() < 0.4: pass\ntime.sleep(0.2)"
    script = (
        "import subprocess, sys, time\nprint(flush=True)\ntime.sleep(0.3)\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])\n"
        "print(flush=True)\ntime.sleep(60)\n"
    )
    with (
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process,
        HostSampler(lambda: [process.pid]) as sampler,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        start_s = time.monotonic()
        process.stdout.readline()  # the child has ended
        end_s = time.monotonic()
        usage = sampler.window(start_s, end_s)
        process.kill()
    assert 0.35 < usage.cpu_cores * (end_s - start_s) < 1.0


def test_time_in_the_kernel_and_switches_are_told():
    """Reading /dev/urandom is the kernel's work; each sleep is a switch."""
    kernel = "import os\nprint(flush=True)\nwhile True: os.pread(f, 1 << 20, 0)"
    kernel = kernel.replace("print", "f = os.open('/dev/urandom', os.O_RDONLY)\nprint", 1)
    sleeper = "import time\nprint(flush=True)\nwhile True: time.sleep(0.005)"
    shares, switches = [], []
    for script in (kernel, sleeper):
        with a_process(script) as pid, HostSampler(lambda pid=pid: [pid]) as sampler:
            start_s = time.monotonic()
            time.sleep(0.6)
            usage = sampler.window(start_s, time.monotonic())
        shares.append(usage.system_share)
        switches.append(usage.context_switches_per_s)
    assert shares[0] > 0.8
    assert 20 < switches[1] < 400


def test_a_peak_between_two_instants_is_found():
    script = (
        "import time\nprint(flush=True)\n"
        f"time.sleep(0.3)\nheld = bytearray(b'x') * (100 * {MIB})\ntime.sleep(0.8)\n"
        "del held\ntime.sleep(60)\n"
    )
    with a_process(script) as pid, HostSampler(lambda: [pid]) as sampler:
        start_s = time.monotonic()
        time.sleep(1.8)
        usage = sampler.window(start_s, time.monotonic())
        now_bytes = tree_memory_bytes([pid])
    assert usage.memory_bytes > 100 * MIB
    assert now_bytes < 60 * MIB


def test_a_process_that_is_gone_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert tree_memory_bytes([process.pid]) == 0


def test_no_more_memory_may_be_used_than_the_machine_has():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory_limit_bytes() <= total
    assert pytest.approx(total, rel=1.0) == memory_limit_bytes()


def test_memory_in_use_leaves_out_what_the_kernel_would_give_back(tmp_path: Path):
    """16 GiB less 10 GiB available, whatever is free."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16777216 kB\nMemFree: 1048576 kB\nMemAvailable: 10485760 kB\n")
    assert memory_in_use_bytes(meminfo) == 6 * 2**30


def test_cpu_time_is_told_apart_by_program():
    """Ours sleeps while a child of another name is busy."""
    command = ["sh", "-c", "while :; do :; done"]
    with HostSampler(lambda: [os.getpid()]) as sampler, subprocess.Popen(command) as child:
        time.sleep(0.2)
        start_s = time.monotonic()
        time.sleep(0.6)
        usage = sampler.window(start_s, time.monotonic())
        child.kill()
    cores = dict(usage.cores_by_process)
    assert cores["sh"] > 0.1
    assert sum(cores.values()) == pytest.approx(usage.cpu_cores)
    assert usage.cores_by_process[0][0] == "sh"
