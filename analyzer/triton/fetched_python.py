"""A Python for the embedded Triton, for a machine that has none which is usable.

It is unpacked into the server's own directory: the system stays as it is, and root is not needed.
On Debian and Ubuntu it comes from the distribution's own archive, by apt with a configuration of
its own: from the mirror that the machine uses, checked with the distribution's key, but of a
release that has a Python which is old enough. Elsewhere, and where that fails, uv fetches one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from analyzer.triton import pythons
from analyzer.triton.pythons import Python
from profiles.errors import SurroundingsError

Report = Callable[[str], None]
OS_RELEASE = Path("/etc/os-release")
KEYRINGS = Path("/usr/share/keyrings")
UV_VERSION = "3.12"


@dataclass(frozen=True)
class _Archive:
    release: str
    components: str
    version: str  # of Python
    others: tuple[str, ...]  # packages with libpython, and with what its pip imports

    @property
    def packages(self) -> tuple[str, ...]:
        """What makes a Python that runs pip."""
        python = f"python{self.version}"
        parts = f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib"
        return *parts, "python3-pip-whl", *self.others


# By distribution; the machine's own release comes first, since an older libc cannot run newer
# programs. Newer machines can run older ones.
ARCHIVES = {
    "debian": (_Archive("bookworm", "main", "3.11", ("libpython3.11",)),),
    "ubuntu": (
        _Archive("noble", "main universe", "3.12", ("libpython3.12t64",)),
        _Archive("jammy", "main universe", "3.10", ("libpython3.10", "python3-distutils")),
    ),
}


def fetch(directory: Path, report: Report = lambda _: None) -> Python:
    """A Python that is unpacked into `directory`, which is made; `report` gets a line for each try.

    Raises
    ------
    SurroundingsError
        None could be fetched; the text says why, a line for each source.
    """
    failures = []
    for source, get in (("apt", _from_archive), ("uv", _by_uv)):
        try:
            python = get(directory / source, report)
        except (OSError, SurroundingsError) as error:
            failures.append(f"{source}: {error}")
            shutil.rmtree(directory / source, ignore_errors=True)
        else:
            return python
    raise SurroundingsError("\n    ".join(("None could be fetched, either:", *failures)))


def _from_archive(directory: Path, report: Report) -> Python:
    """The Python of this or of another release of this distribution."""
    system = _read_os_release()
    names = [system.get("ID", ""), *system.get("ID_LIKE", "").split()]
    distribution = next((name for name in names if name in ARCHIVES), None)
    if distribution is None or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise SurroundingsError("this is neither Debian nor Ubuntu, or it has no apt-get")
    own = [system[key] for key in ("UBUNTU_CODENAME", "VERSION_CODENAME") if key in system]
    mirror = next((uri for uri, release in _sources() if release in own), None)
    if mirror is None:
        raise SurroundingsError(f"apt has no source of {' or '.join(dict.fromkeys(own))}")
    keyrings = sorted(KEYRINGS.glob(f"{distribution}-archive-keyring.*"))
    if not keyrings:
        raise SurroundingsError(f"{KEYRINGS}/{distribution}-archive-keyring.gpg is missing")
    failures = []
    for archive in sorted(ARCHIVES[distribution], key=lambda archive: archive.release not in own):
        report(f"Fetching Python {archive.version} of {archive.release} by apt")
        source = f"deb [signed-by={keyrings[0]}] {mirror} {archive.release} {archive.components}\n"
        try:
            return _unpack(directory / archive.release, archive, source)
        except SurroundingsError as error:
            failures.append(f"{archive.release}: {error}")
    raise SurroundingsError("; ".join(failures))


def _unpack(directory: Path, archive: _Archive, source: str) -> Python:
    """What apt downloads by a configuration that leaves the system's own alone."""
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (directory / name).mkdir(parents=True)
    sources = directory / "sources.list"
    sources.write_text(source, encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": directory / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # another user may not write here; keys are checked as well
        "APT::Update::Error-Mode": "any",
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in settings.items())]
    _run([*apt, "update"])
    _run([*apt, "download", *archive.packages], directory / "packages")
    root = directory / "root"
    for package in sorted((directory / "packages").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    for name in ("lists", "cache", "packages"):
        shutil.rmtree(directory / name)
    (wheel,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    return replace(_check(root / f"usr/bin/python{archive.version}"), pip_wheel=str(wheel))


def _by_uv(directory: Path, report: Report) -> Python:
    """The Python that uv installs; uv is installed, too, where pip is there to do it."""
    directory.mkdir(parents=True)
    uv = shutil.which("uv")
    if uv is None:
        if importlib.util.find_spec("pip") is None:
            raise SurroundingsError("not on PATH, and there is no pip to install it with")
        report("Fetching uv")
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "--only-binary=:all:", "--target", str(directory / "uv"), "uv"])
        uv = str(directory / "uv/bin/uv")
    report(f"Fetching Python {UV_VERSION} by uv")
    settings = {"UV_PYTHON_INSTALL_DIR": str(directory / "python"), "UV_PYTHON_INSTALL_BIN": "0"}
    _run([uv, "python", "install", "--no-progress", UV_VERSION], environment=settings)
    shutil.rmtree(directory / "uv", ignore_errors=True)
    # Beside it uv leaves a link of the same name without the patch release.
    (executable,) = directory.glob(f"python/cpython-{UV_VERSION}.*/bin/python{UV_VERSION}")
    return _check(executable)


def _check(executable: Path) -> Python:
    """What was fetched, if it runs here with its library and what pip and ONNX Runtime import."""
    _run([str(executable), "-I", "-c", "import ctypes, ssl, venv, zlib"])
    python = pythons.probe(str(executable))
    if python is None or python.library_directory is None:
        raise SurroundingsError(f"{executable} has no shared library")
    return python


def _read_os_release() -> dict[str, str]:
    try:
        lines = OS_RELEASE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def _sources() -> list[tuple[str, str]]:
    """(address, release) of what apt is configured with, whether or not its lists are there."""
    what = ["--no-release-info", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    lines = _run(["apt-get", "indextargets", *what]).splitlines()
    return [(uri, release) for uri, _, release in (line.partition(" ") for line in lines)]


def _run(
    command: list[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a program prints; raises SurroundingsError with its last words when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        words = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = "; ".join(dict.fromkeys([*words[:1], *words[-1:]])) or f"status {done.returncode}"
        raise SurroundingsError(f"{Path(command[0]).name} says: {said}")
    return done.stdout
