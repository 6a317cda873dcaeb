"""Control groups, as files laid out like the kernel's, and once for real."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.devices import cgroup
from analyzer.devices.cgroup import Throttling
from analyzer.devices.host import HostSampler


def a_proc(path: Path, mounts: str, groups: str) -> Path:
    """A /proc with process 7 in it; `{}` in the mounts is the directory of the groups."""
    (path / "proc" / "7").mkdir(parents=True)
    (path / "proc" / "mounts").write_text(mounts.format(path / "cg"))
    (path / "proc" / "7" / "cgroup").write_text(groups)
    return path / "proc"


def write(path: Path, **files: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)


def test_version_2_limits_are_the_least_on_the_way_up(tmp_path: Path):
    """The pod may use 2 processors and 8 GiB; its container 3 and 4 GiB."""
    proc = a_proc(tmp_path, "cgroup2 {} cgroup2 rw 0 0\n", "0::/pod/container\n")
    write(tmp_path / "cg/pod", cpu__max="200000 100000\n", memory__max=f"{8 * 2**30}\n")
    write(
        tmp_path / "cg/pod/container",
        cpu__max="300000 100000\n",
        memory__max=f"{4 * 2**30}\n",
        cpu__stat="usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500000\n",
    )
    assert cgroup.cpu_limit_cores(7, proc) == 2.0
    assert cgroup.memory_limit_bytes(7, proc) == 4 * 2**30
    assert cgroup.throttling(7, proc) == Throttling(40, 10, 2.5)


def test_version_1_has_a_directory_per_controller(tmp_path: Path):
    mounts = "cgroup {0}/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup {0}/memory cgroup rw,memory 0 0\n"
    proc = a_proc(tmp_path, mounts, "2:cpu,cpuacct:/triton\n1:memory:/triton\n")
    write(
        tmp_path / "cg/cpu/triton",
        cpu__cfs_quota_us="50000\n",
        cpu__cfs_period_us="100000\n",
        cpu__stat="nr_periods 4\nnr_throttled 3\nthrottled_time 1500000000\n",
    )
    write(tmp_path / "cg/memory/triton", memory__limit_in_bytes=f"{2**30}\n")
    assert cgroup.cpu_limit_cores(7, proc) == 0.5
    assert cgroup.memory_limit_bytes(7, proc) == 2**30
    assert cgroup.throttling(7, proc) == Throttling(4, 3, 1.5)


def test_no_limit_is_none_in_both_versions(tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    proc = a_proc(one, "cgroup2 {} cgroup2 rw 0 0\n", "0::/\n")
    write(one / "cg", cpu__max="max 100000\n", memory__max="max\n")
    assert cgroup.cpu_limit_cores(7, proc) is None
    assert cgroup.memory_limit_bytes(7, proc) is None
    assert cgroup.throttling(7, proc) == Throttling()
    mounts = "cgroup {0} cgroup rw,memory 0 0\ncgroup {0} cgroup rw,cpu 0 0\n"
    proc = a_proc(two, mounts, "1:cpu:/\n2:memory:/\n")
    write(two / "cg", cpu__cfs_quota_us="-1\n", memory__limit_in_bytes="9223372036854771712\n")
    assert cgroup.cpu_limit_cores(7, proc) is None
    assert cgroup.memory_limit_bytes(7, proc) is None


def test_in_a_container_that_sees_only_its_own_group_that_one_counts(tmp_path: Path):
    """The path is the host's, and the mount is the container's group itself."""
    proc = a_proc(tmp_path, "cgroup {} cgroup rw,cpu 0 0\n", "1:cpu:/docker/5c4d\n")
    write(tmp_path / "cg", cpu__cfs_quota_us="200000\n", cpu__cfs_period_us="100000\n")
    assert cgroup.cpu_limit_cores(7, proc) == 2.0


def test_a_system_without_control_groups_has_no_limits(tmp_path: Path):
    assert cgroup.cpu_limit_cores(7, tmp_path) is None
    assert cgroup.throttling(7, tmp_path) == Throttling()


@contextlib.contextmanager
def a_group(cores: float) -> Iterator[Path]:
    """A real group beside ours with a CPU quota; skips where none may be made."""
    group = next(cgroup.groups("self", "cpu"), None)
    if group is None:
        pytest.skip("no control groups here")
    made = group / f"model-placer-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            if (made / "cpu.max").exists():
                (made / "cpu.max").write_text(f"{round(cores * 100_000)} 100000")
            else:
                (made / "cpu.cfs_quota_us").write_text(str(round(cores * 100_000)))
        except OSError as error:
            pytest.skip(f"no CPU quota can be set here: {error}")
        yield made
    finally:
        made.rmdir()


def test_a_server_at_its_cpu_limit_is_seen_throttled():
    """Spinning under a limit of a tenth of a processor: held in nearly every period."""
    with a_group(0.1) as group:
        script = (
            f"open('{group}/cgroup.procs', 'w').write('0')\nprint(flush=True)\nwhile True: pass"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as spinning:
            assert spinning.stdout is not None
            spinning.stdout.readline()
            try:
                assert cgroup.cpu_limit_cores(spinning.pid) == pytest.approx(0.1)
                with HostSampler(lambda: [spinning.pid]) as sampler:
                    start_s = time.monotonic()
                    time.sleep(1.0)
                    usage = sampler.window(start_s, time.monotonic())
            finally:
                spinning.kill()
                spinning.wait()
    assert usage.throttled_share > 0.5
    assert usage.throttled_s_per_s > 0.3
    assert usage.cpu_cores < 0.3
