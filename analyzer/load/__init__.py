"""Load generators, their inputs, and when a measurement is precise enough."""
