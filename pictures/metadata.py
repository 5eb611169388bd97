"""What a picture file says beside its pixels: colour profile, EXIF, XMP, IPTC, resolution, texts."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

BITS, ORIENTATION, RESOLUTION_X, RESOLUTION_Y, RESOLUTION_UNIT, XMP, ICC = 258, 274, 282, 283, 296, 700, 34675
IPTC = 33723
IPTC_RESOURCE = 0x0404  # of Photoshop's data in a JPEG
INTEROP = ExifTags.IFD.Interop.value
SUBDIRECTORIES = (ExifTags.IFD.Exif.value, ExifTags.IFD.GPSInfo.value)
# Tags that hold the width and the height: in the main directory, and in that of the camera
WIDTHS_HEIGHTS = ((256, 257), (40962, 40963))
# Of how a TIFF file stores its pixels, of its thumbnails, or kept apart from EXIF
_STRUCTURE_RANGES = ((258, 269), (277, 281), (288, 293), (317, 343), (512, 521), (529, 532))
# 34377 is Photoshop's, the others the place of the old pixels on a map
STRUCTURE = {254, 255, 273, 284, 297, 301, 347, XMP, 33550, IPTC, 33922, 34264, 34377, 34735, 34736, 34737, ICC}.union(
    *(range(first, last + 1) for first, last in _STRUCTURE_RANGES)
)
# How tifffile and ImageJ describe what they have stored
DESCRIPTION, LAYOUT = 270, re.compile(r'\{"shape": |ImageJ=')
WITHOUT_TEXT = re.compile(r"XML:com\.adobe\.xmp|Raw profile type .*|icc_profile|exif", re.IGNORECASE)
COMMENT = "Comment"
WORDS = {
    "icc": "the colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "dpi": "the resolution",
    "text": "texts",
}


@dataclass(frozen=True)
class Metadata:
    """`icc` profile, `exif`, `xmp`, `iptc` as bytes, `dpi` (x, y), `text` by its key."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    iptc: bytes | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any], exif: Image.Exif, text: Mapping[str, str]) -> "Metadata":
        """What Pillow has read of a file: its `info`, its `exif`, and the texts of a PNG.

        Thumbnails are left out: they show another picture than the one that is going to be written.
        """
        dpi, is_tiff, says = info.get("dpi"), BITS in exif, RESOLUTION_X in exif
        if not says and (is_tiff or ("jfif_density" in info and not info.get("jfif_unit"))):
            dpi = None  # Pillow's 1 of a TIFF, or 72 of a JPEG, that says nothing
        if dpi is None and is_tiff and says and RESOLUTION_Y in exif:  # a TIFF that Pillow did not take
            inches = {2: 1, 3: 2.54}.get(exif.get(RESOLUTION_UNIT, 2), 0)
            dpi = (float(exif[RESOLUTION_X]) * inches, float(exif[RESOLUTION_Y]) * inches)
        xmp = info.get("xmp") or exif.get(XMP)
        icc = info.get("icc_profile") or exif.get(ICC)
        iptc = info.get("photoshop", {}).get(IPTC_RESOURCE) or exif.get(IPTC)
        comment = info.get("comment")
        text = {key: str(value) for key, value in text.items() if not WITHOUT_TEXT.fullmatch(key)}
        if isinstance(comment, bytes) and info.get("jfif"):
            text[COMMENT] = comment.decode("utf-8", "replace")
        structure = STRUCTURE | ({DESCRIPTION} if LAYOUT.match(str(exif.get(DESCRIPTION))) else set())
        for tag in structure & set(exif):
            del exif[tag]
        return cls(
            icc or None,
            exif.tobytes() if _says_more(exif) else None,
            xmp.encode() if isinstance(xmp, str) else xmp or None,
            tuple(float(value) for value in dpi) if dpi and min(dpi) > 0 else None,
            text,
            iptc if isinstance(iptc, bytes) else None,
        )

    def of_size(self, size: tuple[int, int], scale: tuple[float, float], turned: bool = False) -> "Metadata":
        """As it is true of a picture of `size` (H, W), enlarged by (height factor, width factor) and, when `turned`,
        then turned by 90 degrees."""
        dpi = self.dpi and (self.dpi[0] * scale[1], self.dpi[1] * scale[0])
        exif = self.exif and _exif_of_size(self.exif, size, scale, turned)
        return replace(
            self, exif=exif, xmp=self.xmp and _xmp_of_size(self.xmp, size), dpi=dpi[::-1] if dpi and turned else dpi
        )

    def kept(self, names: frozenset[str]) -> tuple["Metadata", list[str]]:
        """What of it has these names (a JPEG's only text is its `comment`), and what else there is, in words."""
        dropped = {name: getattr(Metadata(), name) for name in WORDS if getattr(self, name) and name not in names}
        if "comment" in names and COMMENT in self.text:
            dropped["text"] = {COMMENT: self.text[COMMENT]}
        lost = [WORDS[name] for name, rest in dropped.items() if rest != getattr(self, name)]
        return replace(self, **dropped), lost

    def options(self, form: str) -> dict[str, Any]:
        """As the options of Pillow's `save` in its format `form`, but TIFF."""
        options = {"icc_profile": self.icc, "exif": self.exif, "dpi": self.dpi}
        if form == "PNG":
            chunks = PngInfo()
            for key, value in self.text.items():
                chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
            if self.xmp:
                chunks.add_itxt("XML:com.adobe.xmp", self.xmp.decode("utf-8", "replace"))
            options["pnginfo"] = chunks
        else:
            options |= {"xmp": self.xmp, "comment": self.text.get(COMMENT)}
        if form == "JPEG" and self.iptc:
            padded = self.iptc + bytes(len(self.iptc) % 2)
            data = b"Photoshop 3.0\0" + struct.pack(">4sHHI", b"8BIM", IPTC_RESOURCE, 0, len(self.iptc)) + padded
            options["extra"] = struct.pack(">HH", 0xFFED, 2 + len(data)) + data  # a segment APP13
        return {name: value for name, value in options.items() if value}

    def tiff_tags(self) -> ImageFileDirectory_v2:
        """As the tags of a TIFF file."""
        tags = ImageFileDirectory_v2()
        exif = _load(self.exif)
        for tag in exif:
            tags[tag] = dict(exif.get_ifd(tag)) if tag in SUBDIRECTORIES else exif[tag]
            if tag in SUBDIRECTORIES and INTEROP in tags[tag]:
                tags[tag] |= {INTEROP: exif.get_ifd(INTEROP)}
        if self.dpi:
            tags[RESOLUTION_UNIT], tags[RESOLUTION_X], tags[RESOLUTION_Y] = 2, *self.dpi
        if self.xmp:
            tags[XMP] = self.xmp
        if self.icc:
            tags[ICC] = self.icc
        if self.iptc:
            tags[IPTC] = self.iptc
        return tags


def _says_more(exif: Image.Exif) -> bool:
    """Whether EXIF holds more than the size and the resolution, which every TIFF file does."""
    plain = {*WIDTHS_HEIGHTS[0], RESOLUTION_X, RESOLUTION_Y, RESOLUTION_UNIT}
    return any(tag not in plain and (tag not in SUBDIRECTORIES or exif.get_ifd(tag)) for tag in exif)


def _load(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    if data:
        exif.load(data)
    return exif


def _exif_of_size(data: bytes, size: tuple[int, int], scale: tuple[float, float], turned: bool) -> bytes:
    exif = _load(data)
    directories = (exif, exif.get_ifd(ExifTags.IFD.Exif))
    for directory, tags in zip(directories, WIDTHS_HEIGHTS, strict=True):
        for tag, side in zip(tags, reversed(size), strict=True):
            if tag in directory:
                directory[tag] = side
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    for tag, factor in ((RESOLUTION_X, scale[1]), (RESOLUTION_Y, scale[0])):
        if tag in exif:
            exif[tag] = float(exif[tag]) * factor
    if turned and {RESOLUTION_X, RESOLUTION_Y} <= set(exif):
        exif[RESOLUTION_X], exif[RESOLUTION_Y] = exif[RESOLUTION_Y], exif[RESOLUTION_X]
    return exif.tobytes()


def _xmp_of_size(xmp: bytes, size: tuple[int, int]) -> bytes:
    values = {"PixelXDimension": size[1], "PixelYDimension": size[0], "ImageWidth": size[1], "ImageLength": size[0]}
    for name, value in {**values, "Orientation": 1}.items():
        for form in (rb'((?:exif|tiff):%s=")\d+', rb"(<(?:exif|tiff):%s>)\d+"):
            xmp = re.sub(form % name.encode(), rb"\g<1>%d" % value, xmp)
    # The film behind a motion photo is not kept
    return re.sub(rb'(GCamera:(?:MotionPhoto|MicroVideo)=")1"', rb'\g<1>0"', xmp)
