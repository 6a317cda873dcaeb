"""Builds both images of the Dockerfile on bases that are made here: no registry is asked.

What the builds install is fetched on the host and handed to them over HTTP: a build need not reach
a package index, and no layer holds the wheels.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from platformdirs import user_cache_dir

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "tests" / "triton_image" / "debian.sh"
PYTHON_IMAGE = "model-placer-debian:trixie"  # perf_analyzer needs its glibc
CONTEXT = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
CONTEXT_FOLDERS = ("analyzer", "placement", "profiles")
# Each image's own Python, the newest glibc that its Debian runs, and the extra that it installs.
PYTHONS = (("3.11", 36, ""), ("3.13", 41, "perf-analyzer"))


@dataclass(frozen=True)
class Images:
    """The names of both."""

    command: str = "model-placer:test"
    server: str = "model-placer-server:test"


def build(triton_image: str, work: Path) -> Images:
    """Build them; raises CalledProcessError, with what was said, when that does not work."""
    made = Images()
    base = subprocess.Popen(
        ["sh", str(DEBIAN), "trixie", PYTHON_IMAGE, "python3"], stderr=subprocess.PIPE, text=True
    )
    wheels = fetch_wheels(Path(user_cache_dir("model-placer-tests")))
    _, said = base.communicate()
    if base.returncode:
        raise subprocess.CalledProcessError(base.returncode, str(DEBIAN), stderr=said)
    context = work / "context"
    context.mkdir()
    for name in CONTEXT:
        shutil.copy(ROOT / name, context / name)
    for folder in CONTEXT_FOLDERS:
        shutil.copytree(ROOT / folder, context / folder)
    pip = next(wheels.glob("*/pip-*.whl"))
    (context / "wheels").mkdir()
    shutil.copy(pip, context / "wheels")
    with served(wheels) as url:
        links = " ".join(f"--find-links {url}/{python}/" for python, _, _ in PYTHONS)
        arguments = {
            "TRITON_IMAGE": triton_image,
            "PYTHON_IMAGE": PYTHON_IMAGE,
            "PIP": f"python3 wheels/{pip.name}/pip",
            "PIP_OPTIONS": f"--no-index {links}",
        }
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        for target, image in (("server", made.server), ("command", made.command)):
            docker(
                *("build", "--network=host", "--label=model-placer.stage=test"),
                *(f"--target={target}", f"--tag={image}", *given, str(context)),
            )
    # What earlier builds left without a name. Newer ones may be another run's, under way.
    for stage in ("environment", "test"):
        docker(
            "image",
            "prune",
            "-f",
            f"--filter=label=model-placer.stage={stage}",
            "--filter=until=30m",
        )
    return made


def docker(*arguments: str) -> str:
    """What docker prints; raises CalledProcessError."""
    return subprocess.run(
        ["docker", *arguments],
        check=True,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},  # buildx is a package of its own on Debian
        capture_output=True,
        text=True,
    ).stdout


def fetch_wheels(cache: Path) -> Path:
    """A folder with all that pip will ask for, for each Python in a folder of its own.

    Kept in the cache for the next call with the same requirements.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commands = []
    for python, glibc, extra in PYTHONS:
        wanted = ["pip", "hatchling", *project["dependencies"]]
        wanted += project["optional-dependencies"].get(extra, [])
        tags = [f"manylinux_2_{minor}_x86_64" for minor in range(glibc, 4, -1)]
        platforms = [f"--platform={tag}" for tag in (*tags, "manylinux2014_x86_64")]
        command = ["--quiet", "--only-binary=:all:", f"--python-version={python}", *platforms]
        commands.append([*command, f"--dest={python}", *wanted])
    folder = cache / f"wheels-{hashlib.sha256(repr(commands).encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache))
    download = [sys.executable, "-m", "pip", "download"]
    running = [  # side by side
        subprocess.Popen([*download, *each], cwd=partial, stderr=subprocess.PIPE, text=True)
        for each in commands
    ]
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            shutil.rmtree(partial)
            raise subprocess.CalledProcessError(process.returncode, "pip download", stderr=said)
    with contextlib.suppress(OSError):  # another run was quicker
        partial.rename(folder)
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder can be read over HTTP, on this machine alone."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
