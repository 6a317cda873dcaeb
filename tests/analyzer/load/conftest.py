"""A real Triton with models that say whether they got what was meant."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from product_images.build import Images

from analyzer.load import perf_analyzer
from analyzer.triton import local
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary


@pytest.fixture(scope="package")
def triton(embedded_triton: Binary) -> Iterator[OwnServer]:
    with local.launch(Path(__file__).parent / "models", embedded_triton) as running:
        running.load("picky")
        running.load("add_one")
        running.load("every_type")
        yield running


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address that is bound, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="session")
def perf_analyzer_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the real perf_analyzer; mark such tests `docker`.

    It needs glibc 2.38. Where this machine's is older, the command's image has both: its program
    runs here by its own loader and libraries.
    """
    found = perf_analyzer.find()
    if found is not None and os.confstr("CS_GNU_LIBC_VERSION") >= "glibc 2.38":
        return Path(found).parent
    images: Images = request.getfixturevalue("images")
    folder = tmp_path_factory.mktemp("perf_analyzer")
    made = ["docker", "create", images.command]
    container = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    try:
        for source, name in (
            ("/usr/lib/x86_64-linux-gnu", "lib"),
            (
                "/opt/model-placer/lib/python3.13/site-packages/perf_analyzer/bin/perf_analyzer",
                "run",
            ),
        ):
            copy = ["docker", "cp", f"{container}:{source}", str(folder / name)]
            subprocess.run(copy, check=True, capture_output=True)
    finally:
        subprocess.run(["docker", "rm", container], check=True, capture_output=True)
    program = folder / "bin" / "perf_analyzer"
    program.parent.mkdir()
    loader = f"{folder}/lib/ld-linux-x86-64.so.2 --library-path {folder}/lib"
    program.write_text(f'#!/bin/sh\nexec {loader} {folder}/run "$@"\n')
    program.chmod(0o755)
    return program.parent
