"""What `doctor` finds. Programs are found by PATH: a test puts its own there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from command_line import COMMAND
from pretended_nvml import fleet as pretended
from pretended_nvml.fleet import Fleet

from analyzer import doctor
from analyzer.triton.runtime import Binary


def a_program(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(stat.S_IRWXU)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


@pytest.mark.triton
def test_the_embedded_triton_is_ok_once_it_is_installed(embedded_triton: Binary) -> None:
    found = doctor.embedded_triton()
    assert (found.state, found.runs_triton) == ("ok", True)
    assert "nvidia-pytriton" in found.detail
    assert "its answers are right" in found.detail


def test_without_the_embedded_triton_the_remedy_is_its_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(tmp_path / "none"))
    found = doctor.embedded_triton()
    assert found.state == "missing"
    assert "model-placer server install (with " in found.remedy


def test_a_tritonserver_on_path_that_lacks_a_library_is_broken(programs: Path) -> None:
    assert doctor.triton_on_path().state == "missing"
    complaint = "error while loading shared libraries: libdcgm.so.3: cannot open"
    a_program(programs, "tritonserver", f"echo '{complaint}' >&2; exit 127")
    found = doctor.triton_on_path()
    assert (found.state, found.runs_triton) == ("broken", False)
    assert "libdcgm.so.3" in found.detail


def test_an_empty_perf_analyzer_is_not_taken_for_one(programs: Path) -> None:
    """pip's wrapper of version 0.1.0 has no program; one that prints no version is broken."""
    assert doctor.perf_analyzer().state == "missing"
    a_program(programs, "perf_analyzer", "exit 0")
    assert doctor.perf_analyzer().state == "broken"
    a_program(programs, "perf_analyzer", "echo 'Perf Analyzer Version 2.60.0 (commit abc)'")
    assert doctor.perf_analyzer().state == "ok"


def test_nginx_says_its_version_on_stderr(programs: Path) -> None:
    a_program(programs, "nginx", "echo 'nginx version: nginx/1.22.1' >&2")
    assert doctor.nginx().detail == f"nginx/1.22.1 ({programs / 'nginx'})"


def test_a_docker_socket_that_is_not_there_gets_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    (found,) = doctor.docker_engine("image")
    assert (found.state, found.runs_triton) == ("missing", False)
    contained = Path("/.dockerenv").exists()  # there the host's socket is what is missing
    assert ("/var/run/docker.sock" if contained else "install Docker") in found.remedy


def test_with_nothing_to_run_triton_the_exit_code_is_3(tmp_path: Path) -> None:
    """Everything that is missing comes with a remedy, in JSON as in the table."""
    environment = {
        "MODEL_PLACER_SERVER_DIR": str(tmp_path / "none"),
        "DOCKER_HOST": f"unix://{tmp_path / 'none.sock'}",
        "PATH": "/nowhere",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
    }
    if Path("/opt/tritonserver/bin/tritonserver").exists():
        pytest.skip("this is a Triton image")
    done = subprocess.run(
        [*COMMAND, "doctor", "--output-format", "json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        cwd=Path(doctor.__file__).parents[1],
    )
    assert done.returncode == 3, done.stderr
    assert "nothing here can run Triton" in done.stderr
    findings = json.loads(done.stdout)
    assert {"embedded Triton", "tritonserver", "Docker", "NVML", "perf_analyzer", "nginx"} <= {
        finding["name"] for finding in findings
    }
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")


def test_gpus_are_listed_with_what_nvml_tells_of_them_and_who_uses_them(
    pretended_nvml: Fleet,
) -> None:
    """An H100 of which all is told and that is in use; two slices of an A100; one that is lost."""
    used = pretended_nvml.add_gpu("NVIDIA H100 80GB HBM3", "GPU-a", 80 * 2**30, flags=pretended.GPM)
    pretended_nvml.hold(used, os.getpid(), 2**30)
    whole = pretended_nvml.add_gpu("NVIDIA A100-SXM4-40GB", "GPU-b")
    for uuid in ("MIG-1", "MIG-2"):
        pretended_nvml.add_gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", uuid, 5 * 2**30, parent=whole)
    pretended_nvml.set(pretended_nvml.add_gpu(), fault=pretended.GPU_IS_LOST)

    _, h100, *slices, lost = doctor.gpus()
    assert (h100.name, h100.state) == ("GPU 0", "ok")
    assert "NVIDIA H100 80GB HBM3, 80.0 GiB, GPU-a" in h100.detail
    assert "GPM counters" in h100.detail
    assert "; not" not in h100.detail
    assert f"in use by {os.getpid()} (" in h100.remedy
    assert "1024 MiB" in h100.remedy
    assert [found.name for found in slices] == ["GPU 1:0", "GPU 1:1"]
    assert "MIG-1" in slices[0].detail
    assert "not utilization" in slices[0].detail
    assert slices[0].remedy == ""
    assert (lost.name, lost.state) == ("GPU 2", "broken")
    assert lost.detail == "NVML error: GPU is lost"
