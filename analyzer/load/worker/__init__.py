"""Code of the load generator's worker processes: `python -m analyzer.load.worker`."""
