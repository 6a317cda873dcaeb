"""Sampling what a server uses: the host, Triton's own statistics, NVML."""
