"""Time, memory and multiply-adds of models: `python -m tools.bench --help`."""

from utils import threads

threads.settle()  # before PyTorch is imported below: threads wait as in every program
