"""Installing the embedded Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMAND

from analyzer.triton import runtime
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError

ROOT = Path(runtime.__file__).parents[2]
# A package index that refuses connections, at once.
NO_INDEX = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "1",
    "PIP_NO_CACHE_DIR": "1",
}


def test_the_running_python_is_taken_where_there_is_numpy_1_for_it() -> None:
    """Any other would have to be one that this machine has on PATH."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running not in runtime.PYTHONS[:-1]:
        pytest.skip(f"Python {running} has no NumPy 1")
    try:
        assert runtime.find_python().version == running
    except SurroundingsError as error:
        assert f"libpython{running}" in str(error) or f"python{running}-venv" in str(error)  # noqa: PT017


@pytest.mark.triton
def test_a_second_install_does_nothing(embedded_triton: Binary) -> None:
    said: list[str] = []
    assert runtime.install(said.append) == embedded_triton
    assert said == []


def test_an_index_out_of_reach_ends_with_pips_words_and_exit_code_3(tmp_path: Path) -> None:
    home = tmp_path / "server"
    try:
        runtime.find_python()
    except SurroundingsError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [*COMMAND, "server", "install"],
        capture_output=True,
        text=True,
        env={**os.environ, **NO_INDEX, "MODEL_PLACER_SERVER_DIR": str(home)},
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 3
    assert "Fetching Triton" in done.stderr  # progress
    assert "check that the package index can be reached" in done.stderr  # remedy
    assert "Connection refused" in done.stderr  # the cause, in pip's words
    assert "No matching distribution found for nvidia-pytriton" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    # What is left is known to be incomplete, and ours to replace.
    assert not (home / "complete").exists()
    runtime._check_is_ours(home)


def test_a_directory_with_something_else_in_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(tmp_path))
    for call in (runtime.install, runtime.remove):
        with pytest.raises(SurroundingsError, match="holds something else"):
            call()
    assert (tmp_path / "thesis.tex").exists()


def test_a_directory_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", "/proc/none/server")
    with pytest.raises(SurroundingsError, match="/proc/none/server"):
        runtime.install()


def test_remove_deletes_what_install_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "server"
    home.mkdir()
    (home / "model-placer").touch()
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(home))
    assert runtime.remove()
    assert not home.exists()
    assert not runtime.remove()


def test_an_install_of_other_packages_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an older Model Placer would have left it: the next install makes it anew."""
    (tmp_path / "complete").write_text('{"packages": [["nvidia-pytriton==0.1"]]}')
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(tmp_path))
    assert runtime.installed() is None


def test_nothing_to_run_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/opt/tritonserver/bin/tritonserver").exists():
        pytest.skip("this is a Triton image")
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SurroundingsError, match="model-placer server install"):
        runtime.find()
