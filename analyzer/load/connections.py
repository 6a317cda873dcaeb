"""How many connections the load generator may open: files of a process, ports of a host."""

from __future__ import annotations

import resource
from pathlib import Path

OTHER_FILES = 256  # of a process: pipes, libraries, the server's own
PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
PORTS_USED = 1000  # by others, and by connections that were closed lately


def most_connections(ports: Path = PORTS) -> int:
    """Connections to one server that can be open at once, once the soft limit was raised.

    Each takes an open file of this process and of the server's, which inherits the limit, and a
    port of its own.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = 2**20 if hard == resource.RLIM_INFINITY else hard
    try:
        first, last = (int(word) for word in ports.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # not Linux's usual place
        first, last = 32768, 60999
    return max(1, min(files - OTHER_FILES, last - first + 1 - PORTS_USED))
