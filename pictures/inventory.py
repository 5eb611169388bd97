"""What a file holds beside its pixels, entry by entry, and files with slight damage, mended.

Every entry of a PNG, JPEG, TIFF, WebP, AVIF or HEIC is kept by `Metadata`, describes the old pixels or encoding alone,
or is named here as lost.
"""

import io
import re
import struct

import numpy as np
from PIL import Image

from pictures.metadata import IPTC, IPTC_RESOURCE
from pictures.png import PNG_SIGNATURE, png_chunk, png_chunks

HEAD = 1 << 16  # bytes of a file of boxes in which what is said of its pictures lies
# Chunks of a PNG that are pixels, or kept: colours without a profile as one, the rest by `Metadata`
PNG_KEPT = {"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "acTL", "fcTL", "fdAT", "iCCP", "gAMA", "cHRM", "sRGB", "cICP",
            "eXIf", "pHYs", "tEXt", "zTXt", "iTXt", "tIME"}  # fmt: skip
PNG_WORDS = {"sBIT": "significant bits", "bKGD": "the background colour", "mDCV": "the mastering display",
             "cLLI": "light levels", "caBX": "content credentials"}  # fmt: skip
PHOTOSHOP = b"Photoshop 3.0"
JPEG_WORDS = {PHOTOSHOP: "Photoshop's data", b"MPF": "further pictures (MPF)",
              b"JP": "content credentials", b"http://ns.adobe.com/xmp/extension": "the extension of XMP"}  # fmt: skip
JPEG_KEPT = (b"JFIF", b"JFXX", b"Exif", b"http://ns.adobe.com/xap", b"ICC_PROFILE", b"Adobe", b"Ducky")
PHOTOSHOP_KEPT = {0x03ED, IPTC_RESOURCE, 0x0425}  # of Photoshop's data: the old resolution, IPTC and its checksum
TIFF_WORDS = {34377: "Photoshop's data", IPTC: "IPTC", 33550: "the place on a map", 34735: "the place on a map",
              330: "further pictures, such as what a camera took"}  # fmt: skip
BOXES = {b"mdcv": "the mastering display", b"clli": "light levels", b"tmap": "the gain map"}
IMAGE_END = b"\xff\xd9"
MOTION = re.compile(IMAGE_END + rb".{0,64}?\0\0\0.ftyp", re.DOTALL)


def coding(content: bytes) -> tuple[int, int] | None:
    """The numbers of primaries and curve by ITU-T H.273 that a PNG's cICP, or the nclx of an AVIF or HEIC, gives."""
    if content.startswith(PNG_SIGNATURE):
        data = next((data for name, data, _ in png_chunks(content) if name == "cICP" and len(data) == 4), None)
        return (data[0], data[1]) if data else None
    place = content.find(b"colrnclx", 0, HEAD) + 8
    return struct.unpack_from(">HH", content, place) if 8 <= place < len(content) - 4 else None


def left_out(content: bytes, file: Image.Image) -> list[str]:
    """What of an opened file is not read, in words."""
    found: list[str] = []
    if content.startswith(PNG_SIGNATURE):
        found = [PNG_WORDS.get(name, f"chunk {name}") for name, _, _ in png_chunks(content) if name not in PNG_KEPT]
    elif file.format in ("JPEG", "MPO"):
        has_only_iptc = set() < set(file.info.get("photoshop", ())) <= PHOTOSHOP_KEPT
        kept = (*JPEG_KEPT, PHOTOSHOP) if has_only_iptc else JPEG_KEPT
        for marker, data in getattr(file, "applist", []):
            if marker.startswith("APP") and not data.startswith(kept):
                words = (text for start, text in JPEG_WORDS.items() if data.startswith(start))
                found.append(next(words, f"segment {marker}"))
        if MOTION.search(content):
            found.append("the film of the motion photo")
    elif file.format == "TIFF":
        found = [text for tag, text in TIFF_WORDS.items() if tag in file.tag_v2]
        if isinstance(file.tag_v2.get(IPTC), bytes):  # as numbers, of either byte order, it is not kept
            found.remove(TIFF_WORDS[IPTC])
        extra = file.tag_v2.get(338, ())
        found += further_bands(len(extra) - (extra[:1] in ((1,), (2,))))
    elif file.format == "SGI" and content[3:4] == b"\2":
        return ["16 bits reduced to 8"]
    elif file.format == "BMP" and content[28:34] == b"\x20\0\0\0\0\0":  # 32 bits, of which Windows uses 24
        (start,) = struct.unpack_from("<I", content, 10)
        found = ["the fourth channel"] if any(content[start + 3 : start + 4 * file.width * file.height : 4]) else []
    elif content[4:8] == b"ftyp":
        found = [text for name, text in BOXES.items() if name in content[:HEAD]]
        found += ["the depth map"] if file.info.get("depth_images") else []
        found += [f"the auxiliary picture {name.rpartition(':')[2]}" for name in file.info.get("aux", {})]
    return list(dict.fromkeys(f"without {text}" for text in found))


def further_bands(count: int) -> list[str]:
    """So many bands of a TIFF file that are neither colours nor alpha, in words."""
    return [f"{count} further band{'s' if count > 1 else ''}"] if count > 0 else []


def mended(content: bytes) -> tuple[bytes, str] | None:
    """A PNG whose ancillary chunks are damaged or whose end is missing, or a JPEG without its end, as a whole file, and
    what was wrong; None for files with damaged pixels and for others."""
    if content.startswith(PNG_SIGNATURE):
        return _mended_png(content)
    if content.startswith(b"\xff\xd8") and not content.rstrip(b"\0").endswith(IMAGE_END):
        ends = (content + IMAGE_END, content + bytes([0x5A]) * 64 + IMAGE_END)
        whole, with_more = (np.asarray(Image.open(io.BytesIO(end))) for end in ends)
        # Where pixels are missing, whatever follows is taken for them
        return (ends[0], "its end mark is missing") if np.array_equal(whole, with_more) else None
    return None


def _mended_png(content: bytes) -> tuple[bytes, str] | None:
    parts, damaged, ended = [PNG_SIGNATURE], [], False
    for name, data, checksum in png_chunks(content):
        chunk = png_chunk(name.encode("latin-1"), data)
        if chunk.endswith(checksum):
            parts.append(chunk)
        elif name[0].isupper():  # without which there is no picture
            return None
        else:
            damaged.append(name)
        ended = ended or name == "IEND"
    said = [f"chunk {name} is damaged" for name in damaged]
    if not ended:
        parts.append(png_chunk(b"IEND", b""))
        said.append("its end mark is missing")
    return (b"".join(parts), ", ".join(said)) if said else None
