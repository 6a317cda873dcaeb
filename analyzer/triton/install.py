"""Installs the embedded Triton: its Python, its packages, and a self-test of its results.

A file `complete` is written last: an install without it is made anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from analyzer.triton import fetched_python, pythons, runtime, self_test
from analyzer.triton.pythons import Python
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError

GLIBC = (2, 35)  # the wheel's tag is manylinux_2_35_x86_64

Report = Callable[[str], None]


def install(report: Report = lambda _: None) -> Binary:
    """Install the embedded Triton, or return at once when it is there.

    `report` gets a line for each step.

    Raises
    ------
    SurroundingsError
        It cannot run here, there is no usable Python and none to be fetched, the package index
        cannot be reached (the text ends with pip's words), or its answers are wrong.
    """
    found = runtime.installed()
    if found is not None:
        return found
    home = runtime.directory()
    with _lock(home):
        found = runtime.installed()  # another process may have made it while this one waited
        if found is None:
            check_platform()
            if home.exists():
                runtime.check_is_ours(home)
                shutil.rmtree(home)
            _make(home, report)
            found = runtime.installed()
    if found is None:
        raise SurroundingsError(
            f"The embedded Triton in {home} is not complete; remove it and retry"
        )
    return found


def check_platform() -> None:
    """Raise SurroundingsError where no Python helps: the wheel is for x86-64 and newer glibcs."""
    library, version = platform.libc_ver()
    machine = platform.machine()
    new_enough = library == "glibc" and tuple(map(int, version.split(".")[:2])) >= GLIBC
    if machine != "x86_64" or not new_enough:
        raise SurroundingsError(
            "The embedded Triton is for x86-64 Linux with glibc 2.35 or newer (Debian 12, Ubuntu "
            f"22.04), and here is {machine} with {library or 'another libc'} {version}".rstrip()
            + "; use --launch-mode docker or remote"
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


def _make(home: Path, report: Report) -> None:
    home.mkdir(parents=True)
    (home / "model-placer").write_text("Made by model-placer server install\n", encoding="utf-8")
    python = _get_python(home, report)
    report(f"Installing into {home} with Python {python.version}")
    environment = home / "env"
    bare = ["--without-pip"] if python.pip_wheel else []
    _run(
        [python.executable, "-m", "venv", *bare, str(environment)], "making an environment", report
    )
    own = str(environment / "bin" / "python")
    if python.pip_wheel:
        itself = [own, f"{python.pip_wheel}/pip", "install", "--no-index", python.pip_wheel]
        _run(itself, "installing pip", report)
    pip = [own, "-m", "pip", "install"]
    # Only wheels: a source build would start compilers and fail minutes later.
    pip += ["--disable-pip-version-check", "--only-binary=:all:", "--progress-bar=off"]
    for arguments, what in runtime.PACKAGES:
        report(f"Fetching {what}")
        _run([*pip, *arguments], f"fetching {what}", report)
    site_packages = environment / "lib" / f"python{python.version}" / "site-packages"
    triton = site_packages / runtime.TRITON
    stub = triton / "python_backend_stubs" / python.version / "triton_python_backend_stub"
    shutil.copytree(triton / "backends", home / "backends")
    shutil.copy2(stub, home / "backends" / "python")
    with (home / "backends/python/triton_python_backend_utils.py").open("a") as file:
        file.write(runtime.NUMPY_GUARD)
    made = {
        "packages": runtime.recipe(),
        "python": python.version,
        "prefix": python.prefix,
        "library_directory": python.library_directory,
        "site_packages": str(site_packages),
    }
    report("Checking its answers")
    self_test.check(runtime.binary(home, made))
    partial = home / "complete.partial"
    partial.write_text(json.dumps(made, indent=2), encoding="utf-8")
    partial.rename(home / "complete")
    report("Done")


def _get_python(home: Path, report: Report) -> Python:
    """One of this machine, else one that is fetched."""
    try:
        return pythons.find()
    except SurroundingsError as error:
        none_here = str(error)
    try:
        return fetched_python.fetch(home / "python", report)
    except SurroundingsError as error:
        raise SurroundingsError(
            f"{none_here}\n{error}\nRemedy one of these, or use --launch-mode docker"
        ) from None


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
