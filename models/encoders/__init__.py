"""Encoders: (B, 3, h, w) normalised picture -> (B, out_dim, h, w) features."""

from models.encoders import edsr

__all__ = ["edsr"]
