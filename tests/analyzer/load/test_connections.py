"""How many connections are possible is known before they are tried."""

import resource
import subprocess
import sys
from pathlib import Path

from analyzer.load.connections import most_connections


def test_the_range_of_ports_bounds_the_connections(tmp_path: Path):
    """Ports 30000 to 32999 are 3000, of which 1000 are left to others."""
    ports = tmp_path / "range"
    ports.write_text("30000\t32999\n")
    assert most_connections(ports) == 2000


def test_the_soft_limit_on_open_files_is_raised_and_the_hard_one_counts(tmp_path: Path):
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1256))\n"
        "from analyzer.load.connections import most_connections\n"
        "print(most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1000", "1256"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1256
