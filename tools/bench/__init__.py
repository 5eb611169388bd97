"""Time, memory and multiply-adds of models: `python -m tools.bench --help`."""

from utils import system
from utils.system import keep_freed

system.settle_threads()  # before PyTorch is imported below: threads wait as in every program
keep_freed()
