"""Weighted sums of pixels: kernels, the fixed filters, and the resampler of filters, networks and tables."""
