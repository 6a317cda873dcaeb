"""The embedded Triton: NVIDIA's server from the `nvidia-pytriton` wheel.

It has an environment of its own, in the user's cache directory (or `MODEL_PLACER_SERVER_DIR`):
Triton 2.51's Python backend needs NumPy 1, since with NumPy 2 a model is ready and its outputs
come back empty (unless it passes them by DLPack, as the example models can). The environment
also holds the wheels that ship the example models' weights. A file `complete` is written last: an
environment without it is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiles.errors import SurroundingsError

SERVER = "nvidia-pytriton==0.7.0"  # carries Triton 2.51
SERVER_VERSION = SERVER.partition("==")[2]
# (pip's arguments, what it is). Exact where config.pbtxt of the examples names a file or a size;
# these ship only weights to us, so what they require of Python and of other packages is moot.
PACKAGES = (
    (("--no-deps", "--ignore-requires-python", SERVER), "Triton"),
    (
        (
            "numpy>=1.26,<2; python_version < '3.13'",
            "numpy>=2.1; python_version >= '3.13'",
            "onnxruntime>=1.20",
        ),
        "ONNX Runtime",
    ),
    (
        (
            "--no-deps",
            "--ignore-requires-python",
            "rapidocr-onnxruntime==1.4.4",
            "silero-vad==6.2.3",
            "magika==1.0.3",
        ),
        "the example models",
    ),
)
# The wheel carries stubs for Python 3.8 to 3.13; older ones have no ONNX Runtime that is new enough
# for the example models. 3.13 comes last: there is no NumPy 1 for it.
PYTHONS = ("3.12", "3.11", "3.10", "3.13")
BUNDLED_LIBRARY = "3.13"  # the wheel has a libpython of this one of its own
TRITON = Path("pytriton/tritonserver")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Binary:
    """A `tritonserver` that can be started here."""

    path: Path
    origin: str  # where it comes from, for people
    environment: tuple[tuple[str, str], ...] = ()  # set in place of what this process has
    backend_directory: Path | None = None  # None: the binary's own default
    embedded: bool = False


@dataclass(frozen=True)
class _Python:
    executable: str
    version: str
    prefix: str
    library_directory: str | None  # where libpython is; None when it is missing
    virtual: bool


def directory() -> Path:
    """Where the embedded Triton is, or would be."""
    chosen = os.environ.get("MODEL_PLACER_SERVER_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    # Two Model Placers that want other packages do not take each other's server away.
    recipe = hashlib.sha256(json.dumps(_recipe()).encode()).hexdigest()[:8]
    return user_cache_path("model-placer") / f"server-{SERVER_VERSION}-{recipe}"


def installed() -> Binary | None:
    """The embedded Triton, or None when it is not there or not as this version makes it."""
    home = directory()
    try:
        made = json.loads((home / "complete").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(made, dict) or made.get("packages") != _recipe():
        return None
    site_packages = Path(made["site_packages"])
    path = site_packages / TRITON / "bin" / "tritonserver"
    if not os.access(path, os.X_OK) or not Path(made["prefix"]).is_dir():
        return None
    libraries = [str(site_packages / "nvidia_pytriton.libs")]
    if made["library_directory"]:
        libraries.append(made["library_directory"])
    environment = {
        "LD_LIBRARY_PATH": ":".join(libraries),
        # The stub's Python takes the first python3 on PATH for its own executable and finds the
        # environment by it; it is initialized as isolated and ignores PYTHONPATH and PYTHONHOME.
        "PATH": f"{home / 'env' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",  # model repositories stay as they are
    }
    return Binary(
        path=path,
        origin=f"nvidia-pytriton {SERVER_VERSION}, Python {made['python']}",
        environment=tuple(environment.items()),
        backend_directory=home / "backends",
        embedded=True,
    )


def on_path() -> Binary | None:
    """The `tritonserver` on PATH, or where NVIDIA's images have it."""
    found = shutil.which("tritonserver") or shutil.which("/opt/tritonserver/bin/tritonserver")
    return Binary(Path(found), origin=found) if found else None


def find() -> Binary:
    """The `tritonserver` on PATH, else the embedded one; raises SurroundingsError without both."""
    found = on_path() or installed()
    if found is None:
        raise SurroundingsError(
            "No Triton here: there is no tritonserver on PATH and none was installed. "
            "Run `model-placer server install`, or use --launch-mode docker"
        )
    return found


def install(report: Report = lambda _: None) -> Binary:
    """Install the embedded Triton, or return at once when it is there.

    `report` gets a line for each step.

    Raises
    ------
    SurroundingsError
        No usable Python, or the package index cannot be reached; the text ends with pip's words.
    """
    found = installed()
    if found is not None:
        return found
    home = directory()
    with _lock(home):
        found = installed()  # another process may have made it while this one waited
        if found is None:
            python = find_python()
            report(f"Installing into {home} with Python {python.version}")
            if python.version == BUNDLED_LIBRARY:
                report(
                    "  Python 3.13 has no NumPy 1: models of your own for the Python backend get "
                    "wrong inputs and empty outputs unless they pass them by DLPack"
                )
            if home.exists():
                _check_is_ours(home)
                shutil.rmtree(home)
            _make(home, python, report)
            found = installed()
    if found is None:
        raise SurroundingsError(
            f"The embedded Triton in {home} is not complete; remove it and retry"
        )
    return found


def remove() -> bool:
    """Delete the embedded Triton; returns whether there was one."""
    home = directory()
    if not home.exists():
        return False
    _check_is_ours(home)
    shutil.rmtree(home)
    return True


def find_python() -> _Python:
    """A Python that the server's Python backend can embed: this one, else one on PATH.

    One of 3.13 is taken only where no older one is usable.

    Raises
    ------
    SurroundingsError
        There is none; the text says what each one lacks.
    """
    lacks: list[str] = []
    names = [getattr(sys, "_base_executable", sys.executable) or sys.executable]
    names += [f"python{version}" for version in PYTHONS]
    usable: list[_Python] = []
    for name in names:
        python = _probe(name)
        if python is None:
            continue
        if python.version not in PYTHONS:
            lacks.append(
                f"{python.executable} is Python {python.version}, "
                f"the server's Python backend wants one of {', '.join(PYTHONS)}"
            )
        elif python.library_directory is None and python.version != BUNDLED_LIBRARY:
            lacks.append(
                f"{python.executable} has no libpython{python.version}.so.1.0 "
                f"(Debian: apt-get install libpython{python.version})"
            )
        elif not python.virtual:
            lacks.append(
                f"{python.executable} cannot make environments "
                f"(Debian: apt-get install python{python.version}-venv)"
            )
        elif python.version == BUNDLED_LIBRARY:
            usable.append(python)
        else:
            return python
    if usable:
        return usable[0]
    reasons = "".join(f"\n    {reason}" for reason in dict.fromkeys(lacks))
    raise SurroundingsError(
        "No Python here can run the embedded Triton; remedy one of these, "
        f"or use --launch-mode docker:{reasons}"
    )


_PROBE = """
import importlib.util, json, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
places = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib"),
          "/usr/lib/" + (sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"), "/usr/lib64"]
name = "libpython%s.so.1.0" % version
print(json.dumps({
    "executable": sys.executable, "version": version, "prefix": sys.base_prefix,
    "library_directory": next((p for p in places if p and os.path.exists(os.path.join(p, name))),
                              None),
    "virtual": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
}))
"""


def _probe(name: str) -> _Python | None:
    """What a Python says of itself; None when it is not there (or a shim that does not run)."""
    try:
        done = subprocess.run(
            [name, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=30, check=True
        )
        return _Python(**json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def _recipe() -> list[Any]:
    return [list(arguments) for arguments, _ in PACKAGES]


def _check_is_ours(home: Path) -> None:
    """Refuse to delete a directory that this module did not make."""
    if any(home.iterdir()) and not (home / "model-placer").exists():
        raise SurroundingsError(
            f"{home} holds something else; set MODEL_PLACER_SERVER_DIR to another directory"
        )


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with home.with_name(f"{home.name}.lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise SurroundingsError(
            f"Cannot install the server into {home}: {error}; "
            "set MODEL_PLACER_SERVER_DIR to a directory that can be written"
        ) from error


def _make(home: Path, python: _Python, report: Report) -> None:
    home.mkdir(parents=True)
    (home / "model-placer").write_text("Made by model-placer server install\n", encoding="utf-8")
    _run([python.executable, "-m", "venv", str(home / "env")], "making an environment", report)
    pip = [str(home / "env" / "bin" / "python"), "-m", "pip", "install"]
    # Only wheels: a source build would start compilers and fail minutes later.
    pip += ["--disable-pip-version-check", "--only-binary=:all:", "--progress-bar=off"]
    for arguments, what in PACKAGES:
        report(f"Fetching {what}")
        _run(
            [*pip, *arguments],
            f"fetching {what}",
            report,
        )
    site_packages = home / "env" / "lib" / f"python{python.version}" / "site-packages"
    triton = site_packages / TRITON
    stub = triton / "python_backend_stubs" / python.version / "triton_python_backend_stub"
    if not stub.exists():
        raise SurroundingsError(f"{SERVER} has no Python backend for Python {python.version}")
    shutil.copytree(triton / "backends", home / "backends")
    shutil.copy2(stub, home / "backends" / "python")
    made = {
        "packages": _recipe(),
        "python": python.version,
        "prefix": python.prefix,
        "library_directory": python.library_directory,
        "site_packages": str(site_packages),
    }
    partial = home / "complete.partial"
    partial.write_text(json.dumps(made, indent=2), encoding="utf-8")
    partial.rename(home / "complete")
    report("Done")


def _run(command: list[str], what: str, report: Report) -> None:
    """Run a step, report pip's downloads; raises SurroundingsError with its last words."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment.pop("PIP_TARGET", None)
    words: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                words.append(line.rstrip())
                if line.lstrip().startswith("Downloading "):
                    report(f"  {line.strip()}")
        except BaseException:  # Ctrl-C: the next call starts over
            process.kill()
            raise
    if process.returncode:
        # pip 23 says that the server's other requirements are absent, which is as it should be.
        last = "".join(f"\n    {word}" for word in list(dict.fromkeys(filter(None, words)))[-8:])
        raise SurroundingsError(
            f"Failed while {what}: check that the package index can be reached "
            f"(proxy: HTTPS_PROXY, mirror: PIP_INDEX_URL), then repeat. pip says:{last}"
        )
