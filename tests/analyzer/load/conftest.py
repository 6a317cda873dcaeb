"""A real Triton with models that say whether they got what was meant."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.server import local
from analyzer.server.local import LocalServer
from analyzer.server.runtime import Binary


@pytest.fixture(scope="package")
def triton(embedded_triton: Binary) -> Iterator[LocalServer]:
    with local.launch(Path(__file__).parent / "models", embedded_triton) as running:
        running.load("picky")
        running.load("add_one")
        yield running


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address that is bound, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"
