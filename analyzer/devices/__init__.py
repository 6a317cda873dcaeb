"""Devices to measure on: GPUs through NVML, CPU hosts, and the limits of control groups."""
