"""Fails to load."""

raise RuntimeError("the weights have gone off")
