"""Completion, as the shells ask for it; bash itself where there is one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMAND, ROOT, run


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `model-placer` is this code."""
    script = tmp_path / "bin" / "model-placer"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{COMMAND[2]}" "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_commands_and_options(shell: str, on_path: dict[str, str], tmp_path: Path):
    printed = run("completion", shell, cwd=tmp_path)
    assert printed.returncode == 0
    assert "_MODEL_PLACER_COMPLETE" in printed.stdout
    for words, cword, incomplete, wanted in (
        ("model-placer pro", "1", "pro", "profile"),
        ("model-placer place --max-mem", "2", "--max-mem", "--max-memory"),
        ("model-placer place --objective m", "3", "m", "min-hardware"),
    ):
        asked = {**on_path, "_MODEL_PLACER_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        # fish asks with the word itself, the others with its number
        asked["COMP_CWORD"] = incomplete if shell == "fish" else cword
        told = subprocess.run(
            ["model-placer"], env=asked, capture_output=True, text=True, check=False
        )
        assert wanted in told.stdout, told.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_itself_completes(on_path: dict[str, str], tmp_path: Path):
    script = (
        'eval "$(model-placer completion bash)"; COMP_WORDS=(model-placer prof); COMP_CWORD=1; '
        '_model_placer_completion model-placer; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=on_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "profile", done.stderr
