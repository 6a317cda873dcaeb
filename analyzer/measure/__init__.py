"""Measuring: options, plan of points, bench, the loop over points, and the watchdog."""
