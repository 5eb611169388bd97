"""Formats that pictures are written in, and what each can hold."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pictures import exr
from pictures.metadata import Metadata
from pictures.picture import Picture, PixelFormat
from utils.errors import InputError
from utils.files import check_target

EVERYTHING = frozenset({"icc", "exif", "xmp", "dpi", "text"})
# Without loss, the first that a format has: grey may be written as RGB.
EQUIVALENT = {"L": ("L", "RGB"), "LA": ("LA", "RGBA"), "RGB": ("RGB",), "RGBA": ("RGBA",), "CMYK": ("CMYK",)}
FILLED = "transparency filled"
REDUCED = {"LA": ("L", FILLED), "RGBA": ("RGB", FILLED), "CMYK": ("RGB", "CMYK converted to RGB")}
SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}  # of colour profiles, by the channels that they describe


@dataclass(frozen=True)
class Format:
    """`name` and `options` as Pillow takes them; `channels` that it holds, by depth; the metadata that it `keeps`."""

    name: str
    channels: Mapping[int, tuple[str, ...]]
    keeps: frozenset[str]
    largest_side: int = 2**31 - 1
    largest_bytes: int = 2**62
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_alpha(self) -> bool:
        """Whether the format holds transparency."""
        return any(channels.endswith("A") for held in self.channels.values() for channels in held)

    @property
    def is_animated(self) -> bool:
        """Whether the format holds animations."""
        return self.name in ("GIF", "PNG", "WEBP")

    def of_frames(self) -> "Format":
        """The format as it holds animations: of 8 bits, and PNG, then APNG, not made row by row."""
        return replace(self, name="APNG" if self.name == "PNG" else self.name, channels={8: self.channels[8]})

    def of_quality(self, quality: int) -> "Format":
        """With loss, at a quality from 1 to 100; InputError where the format has no such."""
        if "quality" not in self.options and "lossless" not in self.options:
            raise InputError(f"--quality is for films, .jpg, .webp and .avif; a {self.name} has no loss")
        if not 1 <= quality <= 100:
            raise InputError(f"--quality of {self.name} is from 1 to 100, not {quality}")
        return replace(
            self, options={**self.options, "quality": quality} | ({"lossless": False} if self.name == "WEBP" else {})
        )

    def pixel_format_for(self, kind: PixelFormat) -> tuple[PixelFormat, list[str]]:
        """How this format holds a picture of `kind`, and what of it is lost, in words."""
        channels, depth, losses = kind.channels, kind.depth, []
        while not any(set(EQUIVALENT[channels]) & set(held) for held in self.channels.values()):
            channels, loss = REDUCED[channels]
            losses.append(loss)
            if kind.channels == "CMYK":
                depth = 8  # what profiles are applied in
        depths = sorted(held for held in self.channels if held <= depth) or [min(self.channels)]
        depth, channels = next(
            (held, same) for held in reversed(depths) for same in EQUIVALENT[channels] if same in self.channels[held]
        )
        if depth < kind.depth:
            given = "16 bits" if self.name != "film" else "depth"  # films have 10 or 12 bits, too
            losses.append(f"{'floats' if kind.depth == 32 else given} reduced to {depth} bits")
        return PixelFormat(channels, depth), losses

    def check_size(self, path: str | Path, size: tuple[int, int], kind: PixelFormat) -> None:
        """InputError when a picture of `size` (H, W) is too large for the format."""
        needed = size[0] * size[1] * len(kind.channels) * kind.depth // 8
        if max(size) > self.largest_side or needed > self.largest_bytes:
            limit = f"sides of {self.largest_side} pixels"
            if needed > self.largest_bytes:
                limit = f"{self.largest_bytes / 2**30:.0f} GiB"
            raise InputError(f"cannot write {path}: {size[1]}x{size[0]} is beyond {self.name}'s {limit}; write a .png")


def kept_metadata(picture: Picture, form: Format, kind: PixelFormat) -> tuple[Metadata, list[str]]:
    """What the format keeps of a picture's metadata when it is written as `kind`, and what is lost, in words."""
    metadata, lost = picture.metadata.kept(form.keeps)
    before, after = picture.pixel_format.colours, kind.colours
    if metadata.icc and before != after and metadata.icc[16:20] == SPACES[before]:
        metadata = replace(metadata, icc=None)
        lost += [] if before == "CMYK" else [f"the profile of {before}"]  # CMYK has been converted by its profile
    return metadata, lost


_ALPHA = ("L", "LA", "RGB", "RGBA")
_GREY_RGB = ("L", "RGB")
_PNG = Format("PNG", {8: _ALPHA, 16: _ALPHA}, EVERYTHING)
# The largest side is libjpeg's own, a little below the format's
_JPEG = Format("JPEG", {8: ("L", "RGB", "CMYK")}, EVERYTHING - {"text"} | {"comment", "iptc"}, 65500,
               options={"quality": 95, "subsampling": 0})  # fmt: skip
_SHOWN = frozenset({"icc", "exif", "xmp"})
_WEBP = Format("WEBP", {8: ("RGB", "RGBA")}, _SHOWN, largest_side=16383, options={"lossless": True, "exact": True})
# No 16-bit grey with alpha, which Pillow does not read
_DEEP_TIFF = ("L", "RGB", "RGBA", "CMYK")
_TIFF = Format(
    "TIFF",
    {8: (*_ALPHA, "CMYK"), 16: _DEEP_TIFF, 32: _ALPHA},
    EVERYTHING - {"text"} | {"iptc"},
    largest_bytes=2**32 - 2**24,
)
_AVIF = Format("AVIF", {8: ("RGB", "RGBA")}, _SHOWN, 65536, options={"quality": 95, "subsampling": "4:4:4"})
_GIF = Format("GIF", {8: _ALPHA}, frozenset(), largest_side=65535)
_BMP = Format("BMP", {8: _GREY_RGB}, frozenset({"dpi"}), largest_bytes=2**32 - 2**24)
_PPM = Format("PPM", {8: _GREY_RGB, 16: _GREY_RGB}, frozenset())
_JPEG2000 = Format("JPEG2000", {8: (*_ALPHA, "CMYK"), 16: ("L",)}, frozenset())
_EXR = Format("EXR", {32: _ALPHA}, frozenset({"dpi", "text"}))
# Only formats that take pictures of any shape and keep the size: Pillow also writes icons, which it resizes, palettes
# and documents
WRITTEN = {
    ".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _WEBP, ".avif": _AVIF, ".gif": _GIF, ".tif": _TIFF,
    ".tiff": _TIFF, ".bmp": _BMP, ".ppm": _PPM, ".pgm": _PPM, ".pnm": _PPM, ".jp2": _JPEG2000, ".exr": _EXR,
}  # fmt: skip


def format_of(path: str | Path) -> Format:
    """The format that a file is written in by its ending; InputError for an ending not in WRITTEN."""
    ending = Path(path).suffix
    if ending.lower() not in WRITTEN:
        known = ", ".join(WRITTEN)
        if not ending:
            raise InputError(f"cannot write {path}: a picture has an ending, one of {known}; a folder ends in {os.sep}")
        raise InputError(f"cannot write {path}: '{ending}' is no format that pictures are written in; expected {known}")
    return WRITTEN[ending.lower()]


def check_writable(path: str | Path) -> Path:
    """`path`, when a picture can be written there in the format of its ending, with folders yet to make; makes none.

    InputError, before any work is done, for an ending not in WRITTEN, one whose package is not installed, a folder, or
    a place without write permission.
    """
    if format_of(path).name == "EXR":
        exr.check_available(path)
    return check_target(path)
