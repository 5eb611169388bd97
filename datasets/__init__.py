"""Data sets under their registry names: pictures in folders, and wrappers that turn pictures into training samples."""

from datasets import folders, implicit, warped
from datasets.registry import make, make_wrapped, register, registry

__all__ = ["folders", "implicit", "make", "make_wrapped", "register", "registry", "warped"]
