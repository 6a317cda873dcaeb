"""Touching the world: servers, load, sampling, the profiling loop and the command line."""
