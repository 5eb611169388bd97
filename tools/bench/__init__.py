"""Speed, memory and cost of models on this machine: `python -m tools.bench --help`."""
