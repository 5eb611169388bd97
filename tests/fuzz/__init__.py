"""Damaged and hostile files for everything that is read: `python -m tests.fuzz --seed 1 --count 300`."""
