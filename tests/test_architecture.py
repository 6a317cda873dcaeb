"""The house as docs/architecture.md draws it: files import one another one way only.

Rooms are held in order by import-linter (pyproject.toml); here it is files.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("analyzer", "profiles")


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
