"""Findings with their evidence, and what to change."""
