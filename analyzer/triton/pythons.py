"""The Pythons that the embedded Triton's Python backend can run on.

The backend's stub is a program that embeds Python. The wheel has one for each of Python 3.8 to
3.13, all made for NumPy 1: under NumPy 2 they take each element to be 0 bytes long, so that inputs
repeat their first element and outputs are empty. NumPy 1 ends with Python 3.12, and older Pythons
than 3.10 have no ONNX Runtime that is new enough for the example models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from profiles.errors import SurroundingsError

VERSIONS = ("3.12", "3.11", "3.10")


@dataclass(frozen=True)
class Python:
    """A Python and what it has."""

    executable: str
    version: str  # major.minor
    prefix: str
    library_directory: str | None  # where libpython is; None when it is missing
    has_pip: bool  # can make an environment that has pip
    is_final: bool  # no release candidate, as Ubuntu 22.04's 3.11 is
    pip_wheel: str | None = None  # in the place of the pip that it lacks


def find() -> Python:
    """A usable Python of this machine: the running one, else one on PATH, of pyenv or of uv.

    Raises
    ------
    SurroundingsError
        There is none; the text says what each one lacks.
    """
    lacks: list[str] = []
    for name in _candidates():
        python = probe(name)
        if python is None:
            continue
        lack = lack_of(python)
        if not lack:
            return python
        lacks.append(lack)
    reasons = "".join(f"\n    {lack}" for lack in dict.fromkeys(lacks))
    raise SurroundingsError(f"No Python here can run the embedded Triton:{reasons}")


def _candidates() -> Iterator[str]:
    yield getattr(sys, "_base_executable", sys.executable) or sys.executable
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for version in VERSIONS:
        yield f"python{version}"
        for directory, pattern in ((pyenv, f"{version}.*"), (uv, f"cpython-{version}.*")):
            yield from map(str, sorted(directory.glob(f"{pattern}/bin/python{version}")))


def lack_of(python: Python) -> str:
    """Why a Python cannot be used, with the remedy; empty when it can."""
    version = python.version
    if version not in VERSIONS:
        return (
            f"{python.executable} is Python {version}; the server's Python backend wants NumPy 1 "
            f"and thus one of {', '.join(VERSIONS)}"
        )
    if not python.is_final:
        return f"{python.executable} is a pre-release of Python {version}"
    if python.library_directory is None:
        return (
            f"{python.executable} has no libpython{version}.so.1.0 "
            f"(Debian: apt-get install libpython{version})"
        )
    if not python.has_pip:
        return (
            f"{python.executable} cannot make environments "
            f"(Debian: apt-get install python{version}-venv)"
        )
    return ""


# A Python that was unpacked somewhere has its library beside it, whatever it was configured with.
_PROBE = """
import importlib.util, json, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
places = [os.path.join(sys.base_prefix, "lib", multiarch), os.path.join(sys.base_prefix, "lib"),
          sysconfig.get_config_var("LIBDIR"), "/usr/lib/" + multiarch, "/usr/lib64"]
name = "libpython%s.so.1.0" % version
print(json.dumps({
    "executable": sys.executable, "version": version, "prefix": sys.base_prefix,
    "library_directory": next((p for p in places if p and os.path.exists(os.path.join(p, name))),
                              None),
    "has_pip": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
    "is_final": sys.version_info.releaselevel == "final",
}))
"""


def probe(name: str) -> Python | None:
    """Properties of a Python; None when it does not exist (or is a shim that does not run)."""
    try:
        done = subprocess.run(
            [name, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=30, check=True
        )
        return Python(**json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None
