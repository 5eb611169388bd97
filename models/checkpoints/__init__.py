"""Checkpoints of every origin, read safely."""
