"""Colour of 16 bits a channel and floats, which Pillow reduces, refuses or does not write.

Pillow's decoders take a file's samples as 8 bits each by dropping the low byte. Told that the byte order is the other
one, they drop the high byte instead: two passes read all there is, whatever the compression, without another library.
"""

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pictures.inventory import further_bands
from pictures.picture import PEAKS, Picture, PixelFormat
from utils.errors import InputError

DEEP = re.compile(r"(?P<channels>RGB|RGBA|CMYK);16(?P<order>[BLN])")  # layouts whose two bytes can be told apart
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_SPACE = rb"(?:\s|#[^\n\r]*[\n\r])+"
PPM_HEADER = re.compile(rb"P6" + 3 * (_SPACE + rb"(\d+)") + rb"\s")
# Where a file says how many bits a channel has: JPEG 2000's codestream those of the first, less one; AVIF by flags
DEPTHS = {"JPEG2000": (b"\xff\x4f\xff\x51", 42), "AVIF": (b"av1C", 6)}
PNG_HEADER = 33  # bytes of a PNG's signature and first chunk
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how TIFF files begin
TIFF_LONG = 4
BITS, COMPRESSION, PLANAR, EXTRA = 258, 259, 284, 338
ASSOCIATED, ALPHA = 1, (1, 2)  # of extra samples
PHOTOMETRIC = {"L": 1, "LA": 1, "RGB": 2, "RGBA": 2, "CMYK": 5}


def layouts(file: Image.Image) -> list[tuple]:
    """How an opened file, not yet loaded, stores its pixels: Pillow's raw modes first, or whatever a format has."""
    tiles = [tile.args for tile in getattr(file, "tile", ())]
    return [layout if isinstance(layout, tuple) else (layout,) for layout in tiles if layout]


def bits_of(file: Image.Image, content: bytes = b"") -> int:
    """Bits a channel of an opened file with this content, not yet loaded, that Pillow is going to reduce to 8; else 8.

    Read off the decoder's layout of the pixels, or the heads of JPEG 2000 and AVIF.
    """
    if file.mode.startswith(("I", "F")):
        return 8
    if file.format in DEPTHS:
        mark, offset = DEPTHS[file.format]
        place = content.find(mark) + offset
        if not offset <= place < len(content):
            return 8
        if file.format == "JPEG2000":
            return (content[place] & 0x7F) + 1
        return (12 if content[place] & 0x20 else 10) if content[place] & 0x40 else 8
    if file.format == "PPM":
        is_deep = any(len(layout) == 2 and layout[1] > PEAKS[8] for layout in layouts(file))  # (mode, largest level)
    else:  # "RGB;16B" is 16 bits a channel with its byte order; "BGR;16" without one is 16 bits for the whole pixel
        is_deep = any(re.search(r";16[BLN]$", str(layout[0])) for layout in layouts(file))
    return 16 if is_deep else 8


def is_misread(file: Image.Image, content: bytes) -> bool:
    """Whether Pillow misreads an opened file: a TIFF whose channels come one after the other and are of 16 bits or not
    RGB alone, one of 16 bits multiplied with alpha or beside bands that are no alpha, or of packed floats of the other
    byte order; a JPEG 2000 of reduced chroma whose sides are no multiples of the reduction."""
    if file.format == "JPEG2000":
        mark, offset = DEPTHS["JPEG2000"]
        place = content.find(mark) + offset
        reductions = content[place : place + 3 * len(file.getbands())]
        return any(file.width % x or file.height % y for x, y in zip(reductions[1::3], reductions[2::3], strict=True))
    if file.format != "TIFF":
        return False
    tags = file.tag_v2
    deep, apart, extra = max(tags.get(BITS, (1,))) > 8, tags.get(PLANAR) == 2, tags.get(EXTRA, ())
    if file.mode == "F":
        return tags.get(COMPRESSION, 1) != 1 and tags.prefix == b"MM"
    return (apart and (deep or bool(extra))) or (deep and extra not in ((), (2,)))


def decode_twice(file: Image.Image, content: bytes, opened: Callable[[bytes], Image.Image]) -> Picture | None:
    """All of a file of 16 bits a channel, not yet loaded; None for layouts that this cannot read."""
    if file.format not in ("PNG", "TIFF"):
        return None
    if layouts(file)[0][0] == "LA;16B":  # declared to be 8-bit RGBA, whose pixels have as many bytes
        header = content[12:24] + b"\x08\x06" + content[26:29]
        declared = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[PNG_HEADER:]
        file.load()
        return Picture(np.array(opened(declared)).view(">u2").astype(np.uint16), "LA")
    matches = [DEEP.fullmatch(str(layout[0])) for layout in layouts(file)]
    if not all(matches):
        return None
    again = opened(content)
    swapped = [f"{match['channels']};16{OTHER_ORDER[match['order']]}" for match in matches]
    again.tile = [
        tile._replace(args=(name, *tile.args[1:]) if isinstance(tile.args, tuple) else name)
        for name, tile in zip(swapped, again.tile, strict=True)
    ]
    return Picture(np.array(file).astype(np.uint16) * 256 + np.array(again), file.mode)


def read_ppm(content: bytes) -> Picture | None:
    """All of a PPM file of 16 bits a channel; None for other layouts, such as numbers in words."""
    header = PPM_HEADER.match(content)
    if header is None:
        return None
    width, height, peak = map(int, header.groups())
    values = np.frombuffer(content, ">u2", 3 * width * height, header.end()).reshape(height, width, 3)
    if peak < PEAKS[16]:
        values = np.rint(np.minimum(values, peak) * (PEAKS[16] / peak))
    return Picture(values.astype(np.uint16), "RGB")


def read_other_tiff(content: bytes, name: str) -> Picture:
    """The first page of a TIFF file that Pillow does not take; InputError without tifffile, or for one that it does not
    take either. Colours that are multiplied with alpha are divided by it; other bands are left out."""
    try:
        import tifffile
    except ImportError:
        raise InputError(f"{name}: this kind of TIFF needs one more package: pip install tifffile") from None
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page, pages = file.pages[0], len(file.pages)
        pixels = page.asarray()
        extra = tuple(map(int, page.extrasamples))
        pixels = np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 and pixels.ndim == 3 else pixels
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colour = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}.get(int(page.photometric))
    count = len(colour or "")
    if colour is None or pixels.ndim != 3 or pixels.shape[2] < count:
        raise InputError(f"{name} is a TIFF of a kind that is not known here; convert it to RGB")
    alphas = [place for place, kind in enumerate(extra) if kind in ALPHA and colour != "CMYK"][:1]
    losses = [f"without {bands}" for bands in further_bands(pixels.shape[2] - count - len(alphas))]
    losses += ["only the first of its frames used"] if pages > 1 else []
    losses += ["floats of 64 bits reduced to 32"] if pixels.dtype == np.float64 else []
    pixels = pixels[:, :, [*range(count), *(count + place for place in alphas)]]
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name} holds {pixels.dtype} numbers; convert it to 8 or 16 bits, or to floats")
    peak = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    if page.photometric == 0:
        pixels[:, :, :count] = peak - pixels[:, :, :count]
    if alphas and extra[alphas[0]] == ASSOCIATED:
        colours, alpha = pixels[:, :, :count] * float(peak), pixels[:, :, count:].astype(np.float64)
        straight = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
        pixels[:, :, :count] = straight if peak == 1 else np.rint(straight.clip(0, peak))
    return Picture(pixels, colour + "A" * len(alphas), losses=tuple(losses))


def tiff_head(size: tuple[int, int], kind: PixelFormat, tags: ImageFileDirectory_v2) -> bytes:
    """What comes before the rows of a TIFF file of `size` (H, W), uncompressed, with `tags` of the metadata."""
    count = len(kind.channels)
    tags[256], tags[257] = size[1], size[0]
    tags[258] = (kind.depth,) * count
    tags[259], tags[262], tags[277], tags[278], tags[284] = 1, PHOTOMETRIC[kind.channels], count, size[0], 1
    tags[273], tags[279] = (0,), (size[0] * size[1] * count * kind.depth // 8,)
    tags.tagtype[273] = tags.tagtype[279] = TIFF_LONG
    if kind.has_alpha:
        tags[338] = (2,)  # alpha that colours are not multiplied by
    tags[339] = (3 if kind.depth == 32 else 1,) * count
    head = io.BytesIO()
    tags.save(head)
    return head.getvalue()


def write_rows(stream: BinaryIO, head: bytes, bands: Iterable[np.ndarray], order: str = "<") -> None:
    """Rows of a picture, (rows, W, C) uint8, uint16 or float32 at a time, behind `tiff_head`'s, or `ppm_head`'s in the
    byte order ">"."""
    stream.write(head)
    for band in bands:
        stream.write(np.ascontiguousarray(band.astype(band.dtype.newbyteorder(order), copy=False)).data)


def ppm_head(size: tuple[int, int], kind: PixelFormat) -> bytes:
    """What comes before the rows of a grey or RGB picture of `size` (H, W) as PGM or PPM."""
    return f"P{5 if kind.channels == 'L' else 6}\n{size[1]} {size[0]}\n{PEAKS[kind.depth]}\n".encode()
