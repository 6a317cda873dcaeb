"""Progress: a status line on a terminal, plain lines elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from command_line import ROOT

SCRIPT = """
import logging
from analyzer.cli.command import log, log_to_stderr, status_line
log_to_stderr()
log.info("first")
status_line.show("1 of 2 points, 6.0 a minute, 0:10 left")
log.info("second")
status_line.show("")
"""


def test_on_a_terminal_the_status_stays_below_the_lines():
    master, slave = pty.openpty()
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=slave, cwd=ROOT, check=True, timeout=60)
    os.close(slave)
    seen = os.read(master, 10_000).decode()
    os.close(master)
    status = "1 of 2 points, 6.0 a minute, 0:10 left"
    assert seen == f"first\r\n\r\x1b[K{status}\r\x1b[Ksecond\r\n{status}\r\x1b[K"


def test_elsewhere_there_are_plain_lines(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, cwd=ROOT, text=True, check=True
    )
    assert done.stderr == "first\nsecond\n"
