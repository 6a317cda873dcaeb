"""What is here to work with, and the remedy for what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import Literal

from analyzer.devices import gpu_processes
from analyzer.devices.gpu import Gpu, list_gpus
from analyzer.load.perf_analyzer import find
from analyzer.triton import install, pythons, runtime, self_test
from analyzer.triton.docker import connect, why_unreachable
from analyzer.triton.options import DEFAULT_IMAGE
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One part, whether it is usable, and what to do when it is not."""

    name: str
    state: State
    detail: str
    remedy: str = ""
    runs_triton: bool = False  # one such part that is ok is enough to measure


def examine(image: str = DEFAULT_IMAGE) -> list[Finding]:
    """Look at every part; `image` is the Triton image of Docker mode."""
    return [
        embedded_triton(),
        triton_on_path(),
        *docker_engine(image),
        *gpus(),
        perf_analyzer(),
        nginx(),
    ]


def embedded_triton() -> Finding:
    """The Triton that `server install` makes, and whether its answers are right."""
    name = "embedded Triton"
    binary = runtime.installed()
    if binary is not None:
        anew = "model-placer server remove; model-placer server install"
        found = _binary(name, binary, anew)
        if found.state != "ok":
            return found
        try:
            self_test.check(binary)
        except SurroundingsError as error:
            return Finding(name, "broken", str(error), anew)
        return replace(found, detail=f"{found.detail}; its answers are right")
    try:
        install.check_platform()
    except SurroundingsError as error:
        return Finding(name, "missing", "cannot be installed", str(error))
    try:
        which = f"Python {pythons.find().version}"
    except SurroundingsError:
        which = "a Python that it fetches, too, as none here is usable"
    return Finding(
        name,
        "missing",
        f"not installed in {runtime.directory()}",
        f"model-placer server install (with {which}; 0.5 GB)",
    )


def triton_on_path() -> Finding:
    """A `tritonserver` of the machine's own, as in NVIDIA's images."""
    binary = runtime.on_path()
    if binary is None:
        return Finding(
            "tritonserver",
            "missing",
            "not on PATH",
            "not needed beside the embedded one or Docker; it is in NVIDIA's Triton images",
        )
    return _binary("tritonserver", binary, "see what `tritonserver --help` says")


def docker_engine(image: str) -> list[Finding]:
    """The engine, the Triton image and whether containers can have GPUs."""
    import docker

    try:
        client = connect(timeout_s=5)
    except (docker.errors.DockerException, OSError) as error:
        detail, remedy = why_unreachable(error)
        return [Finding("Docker", "missing", detail, remedy)]
    try:
        engine = client.version()["Version"]
        found = [Finding("Docker", "ok", f"engine {engine}", runs_triton=True)]
        try:
            size_gb = client.images.get(image).attrs["Size"] / 1e9
            found.append(Finding("Triton image", "ok", f"{image}, {size_gb:.1f} GB"))
        except docker.errors.ImageNotFound:
            found.append(
                Finding(
                    "Triton image",
                    "missing",
                    f"{image} is not pulled",
                    f"docker pull {image} (many GB; `profile --launch-mode docker` pulls it too)",
                )
            )
        runtimes = client.info().get("Runtimes", {})
        if "nvidia" in runtimes:
            found.append(Finding("Docker GPUs", "ok", "NVIDIA's container runtime"))
        else:
            found.append(
                Finding(
                    "Docker GPUs",
                    "missing",
                    "no NVIDIA container runtime: containers run on CPU",
                    "for GPUs install nvidia-container-toolkit and run "
                    "`nvidia-ctk runtime configure --runtime=docker`",
                )
            )
    except (docker.errors.DockerException, OSError) as error:
        return [Finding("Docker", "broken", str(error), "restart the engine")]
    else:
        return found
    finally:
        client.close()


def gpus() -> list[Finding]:
    """What NVML sees."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if isinstance(error, pynvml.NVMLError_LibraryNotFound):
            return [
                Finding(
                    "NVML",
                    "missing",
                    str(error),
                    "for GPUs install NVIDIA's driver; without them measure on CPU (--gpus none)",
                )
            ]
        remedy = "see what nvidia-smi says; driver and kernel module have to be of one version"
        return [Finding("NVML", "broken", str(error), remedy)]
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        found = [Finding("NVML", "ok", f"driver {driver}")]
        if gpu_processes.in_own_namespace():
            found[0] = replace(
                found[0],
                remedy="in a process namespace of its own: programs outside are not seen, so see "
                "to it that none uses the GPU",
            )
        present, broken = list_gpus(pynvml)
        if not present and not broken:
            found.append(
                Finding("GPUs", "missing", "none", "measure on CPU (--gpus none), or attach one")
            )
        found += [_gpu(gpu) for gpu in present]
        found += [
            Finding(
                f"GPU {index}",
                "broken",
                what.removeprefix(f"GPU {index}: "),
                "see what nvidia-smi and the kernel's log say",
            )
            for index, what in broken.items()
        ]
    except pynvml.NVMLError as error:
        return [Finding("NVML", "broken", str(error), "see what nvidia-smi says")]
    except SurroundingsError as error:
        return [*found, Finding("GPUs", "broken", str(error), "see what nvidia-smi says")]
    else:
        return found
    finally:
        pynvml.nvmlShutdown()


def perf_analyzer() -> Finding:
    """NVIDIA's load generator, an alternative to the one built in."""
    name = "perf_analyzer"
    path = find()
    if path is None:
        try:
            version = importlib.metadata.version("perf-analyzer")
        except importlib.metadata.PackageNotFoundError:
            detail, remedy = "not there", "pip install perf-analyzer"
        else:
            # On glibc older than 2.38 pip installs 0.1.0, an empty package, without a word.
            detail = f"the Python package {version} is installed, but has no program"
            remedy = "pip uninstall perf-analyzer;"
        glibc = os.confstr("CS_GNU_LIBC_VERSION") or "glibc"
        return Finding(
            name,
            "missing",
            detail,
            f"not needed: the load generator is built in. Else: {remedy} "
            f"(wants glibc 2.38 or newer, here is {glibc}; it is also in NVIDIA's SDK images)",
        )
    said = _version_line([path, "--version"])
    if said is None:
        return Finding(
            name, "broken", f"{path} does not run", "pip install --force-reinstall perf-analyzer"
        )
    return Finding(name, "ok", f"{said} ({path})")


def nginx() -> Finding:
    """What serves as the front door of an exported layout."""
    # Debian has it in sbin, which is not on every user's PATH.
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        return Finding(
            "nginx",
            "missing",
            "not on PATH",
            "apt-get install nginx, to run an exported front door here",
        )
    said = _version_line([path, "-v"])
    if said is None:
        return Finding(
            "nginx", "broken", f"{path} does not run", "apt-get install --reinstall nginx"
        )
    return Finding("nginx", "ok", f"{said.removeprefix('nginx version: ')} ({path})")


def _binary(name: str, binary: Binary, remedy: str) -> Finding:
    """Whether the program finds its libraries: it prints its usage in 20 ms when it does."""
    try:
        done = subprocess.run(
            [str(binary.path), "--help"],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, **dict(binary.environment)},
            check=False,  # help ends with 1
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, "broken", f"{binary.path} does not run: {error}", remedy)
    if "Usage:" not in done.stdout + done.stderr:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return Finding(name, "broken", f"{binary.path} does not run: {last[0]}", remedy)
    return Finding(name, "ok", f"{binary.origin}", runs_triton=True)


def _gpu(gpu: Gpu) -> Finding:
    """One GPU or MIG slice, what NVML tells of it, and who uses it now."""
    name = f"GPU {gpu.index}"
    try:
        abilities = gpu.abilities()
        listed = gpu.processes.listed()
    except SurroundingsError as error:
        return Finding(name, "broken", str(error), "see what nvidia-smi and the kernel's log say")
    memory = f"{gpu.device_type.memory_bytes / 2**30:.1f} GiB"
    shared = " of the host's" if gpu.device.shares_memory else ""
    detail = f"{gpu.device_type.name}, {memory}{shared}, {gpu.uuid}; NVML tells " + ", ".join(
        what for what, told in abilities.items() if told
    )
    missing = ", ".join(what for what, told in abilities.items() if not told)
    users = gpu_processes.described((pid, listed[pid], None) for pid in sorted(listed))
    remedy = f"in use by {users}: a measurement wants the GPU alone" if users else ""
    return Finding(name, "ok", detail + (f"; not {missing}" if missing else ""), remedy)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _version_line(command: list[str]) -> str | None:
    """The first line with a version that a command prints; None when it does not run."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            check=False,  # perf_analyzer's Python wrapper drops the exit status
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    return next((line for line in lines if re.search(r"\d+\.\d+", line)), None)
