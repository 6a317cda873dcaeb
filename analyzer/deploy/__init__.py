"""Layouts on real servers: run, verify under load, learn from it, and move from one to another."""
