"""Measuring: what to measure, on what, when it is good enough, and the loop over all of it."""
