"""Installing the embedded Triton."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND
from echo_model import write
from missing_part import missing

from analyzer import doctor
from analyzer.triton import install, local, pythons, runtime, self_test
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from profiles.errors import LoadError, SurroundingsError

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


@pytest.mark.triton
def test_a_second_install_does_nothing(embedded_triton: Binary) -> None:
    said: list[str] = []
    assert install.install(said.append) == embedded_triton
    assert said == []


def test_an_index_out_of_reach_ends_with_pips_words_and_exit_code_3(tmp_path: Path) -> None:
    home = tmp_path / "server"
    try:
        pythons.find()
    except SurroundingsError as error:
        if shutil.which("apt-get") is None:  # which would fetch one
            missing(str(error))
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
    runtime.check_is_ours(home)


def test_a_directory_with_something_else_in_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(tmp_path))
    for call in (install.install, runtime.remove):
        with pytest.raises(SurroundingsError, match="holds something else"):
            call()
    assert (tmp_path / "thesis.tex").exists()


def test_a_directory_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", "/proc/none/server")
    with pytest.raises(SurroundingsError, match="/proc/none/server"):
        install.install()


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


@pytest.fixture(scope="module")
def with_numpy_2(
    embedded_triton: Binary, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A copy of the embedded Triton, with NumPy 2 as a user may put it there, and its record."""
    home = tmp_path_factory.mktemp("numpy") / "server"
    shutil.copytree(runtime.directory(), home, symlinks=True)
    made = json.loads((home / "complete").read_text())
    made["site_packages"] = made["site_packages"].replace(str(runtime.directory()), str(home))
    (home / "complete").write_text(json.dumps(made))
    pip = [str(home / "env" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
    done = subprocess.run(
        [*pip, "--only-binary=:all:", "numpy>=2"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"pip cannot install NumPy 2: {done.stderr[-300:]}")
    return home, made


@pytest.mark.triton
def test_a_model_in_an_environment_with_numpy_2_does_not_load(
    with_numpy_2: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be ready, and get and give wrong tensors; so it is refused, with the remedy."""
    home, _ = with_numpy_2
    write(tmp_path, "echo")
    monkeypatch.setenv("MODEL_PLACER_SERVER_DIR", str(home))
    with (
        local.launch(
            tmp_path, runtime.installed(), LaunchOptions(log_directory=tmp_path)
        ) as server,
        pytest.raises(LoadError) as refusal,
    ):
        server.load("echo")
    first = str(refusal.value).splitlines()[0]
    assert "ImportError: NumPy 2." in first
    assert "model-placer server remove; model-placer server install" in first
    found = doctor.embedded_triton()
    assert (found.state, found.runs_triton) == ("broken", False)
    assert "NumPy 2." in found.detail


@pytest.mark.triton
def test_the_check_of_answers_sees_the_wrong_tensors_of_numpy_2(
    with_numpy_2: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the refusal, and without texts, of which the server dies."""
    home, made = with_numpy_2
    backend = home / "backends" / "python" / "triton_python_backend_utils.py"
    guarded = backend.read_text()
    assert guarded.endswith(runtime.NUMPY_GUARD)
    numbers = {name: known for name, known in self_test.KNOWN.items() if name != "BYTES"}
    monkeypatch.setattr(self_test, "KNOWN", numbers)
    backend.write_text(guarded.removesuffix(runtime.NUMPY_GUARD))
    try:
        with pytest.raises(SurroundingsError, match="answers are wrong: INT8"):
            self_test.check(runtime.binary(home, made))
    finally:
        backend.write_text(guarded)
