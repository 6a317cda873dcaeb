"""The house as docs/architecture.md draws it: files import one another one way only.

Rooms are held in order by import-linter (pyproject.toml); here it is files, and the page itself.
"""

from __future__ import annotations

import importlib.util
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("analyzer", "placement", "profiles")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_another_that_imports_it(package: str):
    """Imports for type checkers count: a file is to be read without those that use it."""
    graph = grimp.build_graph(package, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        order = list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' → '.join(error.args[1])}")
    assert len(order) == len(imports)


def test_the_picture_is_drawn_from_the_code_and_the_page_names_every_room():
    spec = importlib.util.spec_from_file_location("architecture", PAGE.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    architecture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architecture)
    text = PAGE.read_text()
    assert text == architecture.page(), "run `python docs/architecture.py`"
    table = set(re.findall(r"^\| `([a-z/]+)` \|", text, re.MULTILINE))
    assert table == {room.replace(".", "/") for room in architecture.rooms()}


@pytest.mark.parametrize("page", [PAGE, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_that_the_page_names_is_there(page: Path):
    named = set(re.findall(r"`([\w/]+\.(?:py|md))`", page.read_text()))
    there = [path.as_posix() for path in ROOT.rglob("*.*") if ".venv" not in path.parts]
    missing = {
        name
        for name in named
        if "NAME" not in name and not any(path.endswith(f"/{name}") for path in there)
    }
    assert len(named) > 10
    assert not missing
