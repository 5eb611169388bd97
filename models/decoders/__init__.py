"""Decoders: complete models that turn an encoder's features into a picture of any size, one file per method."""

from models.decoders import ciaosr, liif, lmciaosr, lmliif, lmlte, lte, metasr

__all__ = ["ciaosr", "liif", "lmciaosr", "lmliif", "lmlte", "lte", "metasr"]
