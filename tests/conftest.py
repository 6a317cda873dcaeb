"""The real parts that tests run against. Where one is missing, its tests are skipped and say why;
with MODEL_PLACER_REQUIRE_ALL=1, as on CI, they fail instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analyzer.server import runtime
from analyzer.server.runtime import Binary
from profiles.errors import SurroundingsError

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"


def missing(reason: str) -> None:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("MODEL_PLACER_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def embedded_triton() -> Binary:
    """The embedded Triton, installed on first use; mark such tests `triton`."""
    try:
        return runtime.install()
    except SurroundingsError as error:
        missing(str(error))
        raise


@pytest.fixture(scope="session")
def example_repository() -> Path:
    """The repository of the five example models."""
    return EXAMPLES
