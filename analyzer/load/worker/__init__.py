"""What runs in a worker process of the load generator: `python -m analyzer.load.worker`."""
