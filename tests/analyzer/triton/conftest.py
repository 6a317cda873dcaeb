"""Three small models, without weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the models echo, broken and slow."""
    path = tmp_path_factory.mktemp("models") / "repository"
    shutil.copytree(Path(__file__).parent / "models", path)
    return path
