"""Encoders: (B, 3, h, w) normalised picture -> (B, out_dim, h, w) features."""

from models.encoders import edsr, rcan, rdn, swinir

__all__ = ["edsr", "rcan", "rdn", "swinir"]
