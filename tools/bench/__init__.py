"""Time, memory and multiply-adds of models: `python -m tools.bench --help`."""

from utils import threads
from utils.memory import keep_freed

threads.settle()  # before PyTorch is imported below: threads wait as in every program
keep_freed()
