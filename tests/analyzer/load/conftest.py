"""A real Triton with models that say whether they got what was meant."""

from __future__ import annotations

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
