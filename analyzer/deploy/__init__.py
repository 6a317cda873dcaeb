"""Layouts on real servers: start, verify under load, calibrate, and apply changes."""
