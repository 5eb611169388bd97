"""LeRF: resampling kernels predicted per LR pixel by networks or look-up tables (LUTs), one resampler for all."""
