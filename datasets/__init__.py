"""Data sets under their registry names: pictures in folders, and wrappers that turn pictures into training samples.

Every file in this folder but the commands is imported here, so a new data set or wrapper is one new file.
"""

import sys

from datasets.registry import make, make_wrapped, register, registry
from utils.registry import import_folder

import_folder(sys.modules[__name__], without=("check", "teach"))

__all__ = ["make", "make_wrapped", "register", "registry"]
