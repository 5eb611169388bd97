"""LeRF: kernels predicted per LR pixel by networks or look-up tables, one resampler for all."""

from models.lerf import lerf_net, networks, tables

__all__ = ["lerf_net", "networks", "tables"]
