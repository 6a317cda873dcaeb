"""The command as a user types it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from analyzer.cli import main; main()"]


def run(
    *arguments: str | Path, cwd: Path, timeout_s: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`model-placer` with these arguments; what is named goes into its environment."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
