"""Runs Triton as a child and takes it down with everything it started when the owner goes.

    python kill_with_owner.py SHM_PREFIX CPUS COMMAND...

The owner holds the write end of standard input. A `t` on it asks Triton to end; its end of file,
which a `kill -9` of the owner gives too, kills Triton and the Python backend's stubs at once.
A death signal on Triton itself would be bound to the *thread* that started it and would not
reach the stubs. The first line on standard output is Triton's process id. The exit status is
Triton's, 128 + signal when a signal ended it.

Imports nothing but the standard library: it is run as a script, in a hurry.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main(shm_prefix: str, cpus: str, *command: str) -> int:
    """Run the command; return its exit status."""
    # Stubs that outlive Triton become children of this process, not of init.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the owner decides
    if cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 one thread only
    )
    try:
        sys.stdout.write(f"{child.pid}\n")
        sys.stdout.flush()
        status = _wait(child)
    finally:
        _kill_group(child.pid)
        with contextlib.suppress(ChildProcessError):
            while True:  # stubs included, else their shared memory could come back
                os.waitpid(-1, 0)
        for block in Path("/dev/shm").glob(f"{shm_prefix}*"):  # noqa: S108
            block.unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


def _wait(child: subprocess.Popen[bytes]) -> int:
    with open(os.pidfd_open(child.pid), "rb", buffering=0) as ended:  # noqa: PTH123
        while True:
            ready, _, _ = select.select([0, ended.fileno()], [], [])
            if ended.fileno() in ready:
                return child.wait()
            if os.read(0, 1) == b"t":
                child.terminate()
            else:
                _kill_group(child.pid)
                return child.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
