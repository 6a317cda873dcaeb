"""Which Python the embedded Triton can have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.triton import pythons
from analyzer.triton.pythons import Python
from profiles.errors import SurroundingsError

USABLE = Python("/usr/bin/python3.12", "3.12", "/usr", "/usr/lib", has_pip=True, is_final=True)


def test_a_python_that_is_found_is_one_with_numpy_1_and_a_library() -> None:
    try:
        found = pythons.find()
    except SurroundingsError as error:
        pytest.skip(str(error))
    assert found.version in pythons.VERSIONS
    assert found.library_directory is not None
    assert pythons.lack_of(found) == ""


@pytest.mark.parametrize(
    ("python", "lack"),
    [
        (USABLE, ""),
        (replace(USABLE, version="3.13"), "is Python 3.13; the server's Python backend wants Num"),
        (replace(USABLE, version="3.9"), "one of 3.12, 3.11, 3.10"),
        (replace(USABLE, library_directory=None), "apt-get install libpython3.12"),
        (replace(USABLE, has_pip=False), "apt-get install python3.12-venv"),
        (replace(USABLE, is_final=False), "pre-release"),  # 3.11.0rc1 of Ubuntu 22.04
    ],
)
def test_what_a_python_lacks_is_told_with_the_remedy(python: Python, lack: str) -> None:
    told = pythons.lack_of(python)
    assert lack in told
    assert bool(told) == bool(lack)


def test_what_is_no_python_is_passed_over() -> None:
    assert pythons.probe("/bin/true") is None
    assert pythons.probe("/nowhere/python3.12") is None
