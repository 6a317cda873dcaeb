"""The parts of `benchmarks/gpu.py`, one file each: `run(here, record)`."""
