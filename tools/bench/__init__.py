"""Time, memory and multiply-adds of models: `python -m tools.bench --help`."""
