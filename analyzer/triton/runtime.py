"""The embedded Triton: NVIDIA's server from the `nvidia-pytriton` wheel.

It has an environment of its own, in the user's cache directory (or `MODEL_PLACER_SERVER_DIR`),
since its Python backend wants an older Python and NumPy than Model Placer (see pythons.py). The
environment also holds the wheels that ship the example models' weights. install.py makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
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
    (("numpy>=1.26,<2", "onnxruntime>=1.20"), "ONNX Runtime"),
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
# Added to the Python backend's own module, which each model's process imports before the model. So
# no NumPy 2 gives wrong tensors in silence, wherever it came from: see pythons.py.
NUMPY_GUARD = """

if int(np.__version__.partition(".")[0]) >= 2:
    raise ImportError(
        f"NumPy {np.__version__} in {np.__path__[0]}: this Triton's Python backend needs NumPy 1, "
        "and would hand over wrong tensors. If it is in the server's own environment: "
        "model-placer server remove; model-placer server install"
    )
"""
TRITON = Path("pytriton/tritonserver")


@dataclass(frozen=True)
class Binary:
    """A `tritonserver` that can be started here."""

    path: Path
    origin: str  # where it comes from, for people
    environment: tuple[tuple[str, str], ...] = ()  # set in place of what this process has
    backend_directory: Path | None = None  # None: the binary's own default
    embedded: bool = False


def directory() -> Path:
    """Where the embedded Triton is, or would be."""
    chosen = os.environ.get("MODEL_PLACER_SERVER_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    # Two Model Placers that want other packages do not take each other's server away.
    digest = hashlib.sha256(json.dumps(recipe()).encode()).hexdigest()[:8]
    return user_cache_path("model-placer") / f"server-{SERVER_VERSION}-{digest}"


def installed() -> Binary | None:
    """The embedded Triton, or None when it is not there or not as this version makes it."""
    home = directory()
    try:
        made = json.loads((home / "complete").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(made, dict) or made.get("packages") != recipe():
        return None
    found = binary(home, made)
    if not os.access(found.path, os.X_OK) or not Path(made["prefix"]).is_dir():
        return None
    return found


def binary(home: Path, made: Mapping[str, Any]) -> Binary:
    """How the Triton that was made in `home` is started; `made` is what `complete` says of it."""
    site_packages = Path(made["site_packages"])
    environment = {
        "LD_LIBRARY_PATH": f"{site_packages / 'nvidia_pytriton.libs'}:{made['library_directory']}",
        # The stub's Python takes the first python3 on PATH for its own executable and finds the
        # environment by it; it is initialized as isolated and ignores PYTHONPATH and PYTHONHOME.
        "PATH": f"{home / 'env' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",  # model repositories stay as they are
    }
    return Binary(
        path=site_packages / TRITON / "bin" / "tritonserver",
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


def remove() -> bool:
    """Delete the embedded Triton; returns whether there was one."""
    home = directory()
    if not home.exists():
        return False
    check_is_ours(home)
    shutil.rmtree(home)
    return True


def recipe() -> list[Any]:
    """What an install consists of; one that was made by another counts as none."""
    return [*(list(arguments) for arguments, _ in PACKAGES), NUMPY_GUARD]


def check_is_ours(home: Path) -> None:
    """Refuse to delete a directory that this module did not make."""
    if any(home.iterdir()) and not (home / "model-placer").exists():
        raise SurroundingsError(
            f"{home} holds something else; set MODEL_PLACER_SERVER_DIR to another directory"
        )
