"""Running Triton: one protocol, three launchers (local, docker, remote)."""
