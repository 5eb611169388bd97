"""LeRF: kernels predicted per LR pixel by networks or look-up tables, one resampler for all."""

from models.lerf import imdn, networks, tables

__all__ = ["imdn", "networks", "tables"]
