"""Measures models on Triton and deploys layouts; the rooms are in docs/architecture.md."""
