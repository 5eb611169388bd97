"""Every entry that a file holds is kept, or named in a line that --strict makes an error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pictures.metadata import Metadata
from pictures.png import PNG_SIGNATURE, png_chunk, png_chunks
from pictures.reading import read_picture
from tests.pictures.making import noise

PIXELS = noise(6, 5, 3)
# What a PNG may hold beside its pixels (PNG third edition, registered extensions), and private chunks
CHUNKS = {
    "gAMA": struct.pack(">I", 55556),
    "cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    "cICP": bytes([12, 13, 0, 1]),
    "sBIT": bytes([5, 6, 5]),
    "bKGD": struct.pack(">3H", 1, 2, 3),
    "pHYs": struct.pack(">IIB", 11811, 11811, 1),
    "tEXt": b"Author\0somebody",
    "zTXt": b"Author\0\0" + zlib.compress(b"somebody"),
    "iTXt": b"Author\0\0\0\0\0somebody",
    "eXIf": b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x04Abc\0\0\0\0\0",
    "hIST": struct.pack(">2H", 1, 2),
    "sPLT": b"few\0\x08" + bytes([1, 2, 3, 4, 0, 1]),
    "oFFs": struct.pack(">iiB", 1, 2, 0),
    "pCAL": b"calibration\0",
    "sCAL": b"\x011\0001",
    "mDCV": bytes(24),
    "cLLI": bytes(8),
    "caBX": b"credentials",
    "prVt": b"private",
}
SEGMENTS = {
    1: b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x04Abc\0\0\0\0\0",
    2: b"MPF\0" + bytes(20),
    11: b"JP\0\0" + bytes(9),
    13: b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc",
    5: b"private",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_of_a_png(name) -> None:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, "PNG")
    parts = [png_chunk(chunk.encode(), bytes(data)) for chunk, data, _ in png_chunks(content.getvalue())]
    parts.insert(1, png_chunk(name.encode(), CHUNKS[name]))
    picture = read_picture(PNG_SIGNATURE + b"".join(parts))
    assert np.array_equal(picture.pixels, PIXELS)
    assert (picture.metadata != Metadata()) != bool(picture.losses), (picture.metadata, picture.losses)


@pytest.mark.parametrize("number", SEGMENTS)
def test_segments_of_a_jpeg(number) -> None:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, "JPEG")
    whole, data = content.getvalue(), SEGMENTS[number]
    segment = bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(data) + 2) + data
    place = 4 + struct.unpack_from(">H", whole, 4)[0]  # behind JFIF's
    picture = read_picture(whole[:place] + segment + whole[place:])
    assert (picture.metadata != Metadata()) != bool(picture.losses), (picture.metadata, picture.losses)


def test_the_film_of_a_motion_photo() -> None:
    content, xmp = io.BytesIO(), b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a GCamera:MotionPhoto="1"/></x:xmpmeta>'
    Image.fromarray(PIXELS).save(content, "JPEG", xmp=xmp)
    picture = read_picture(content.getvalue() + b"\0\0\0\x18ftypmp42" + bytes(40) + b"\xff\xd9")
    assert picture.losses == ("without the film of the motion photo",)
    assert b'MotionPhoto="0"' in picture.metadata.of_size((6, 5), (1, 1)).xmp


@pytest.mark.parametrize(("tag", "kind"), [(34377, 7), (33723, 4), (33550, 12)])
def test_tags_of_a_tiff(tag, kind, tmp_path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="writes tags")
    value = b"8BIM" if kind == 7 else (1, 2, 3)
    tifffile.imwrite(tmp_path / "p.tif", PIXELS, extratags=[(tag, kind, len(value), value, True)], metadata=None)
    assert read_picture(tmp_path / "p.tif").losses
