"""Building blocks that several models share."""

from models.layers import lmmlp, mlp

__all__ = ["lmmlp", "mlp"]
