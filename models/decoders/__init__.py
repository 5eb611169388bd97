"""Decoders: complete models that turn an encoder's features into a picture of any size, one file per method."""
