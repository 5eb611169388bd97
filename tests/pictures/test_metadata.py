"""What files say beside their pixels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from pictures.formats import WRITTEN, format_of, kept_metadata
from pictures.metadata import Metadata
from pictures.picture import Picture, PixelFormat
from pictures.reading import read_picture
from pictures.writing import write_picture
from tests.pictures.making import described, noise


def tags(exif: bytes, directory: int | None = None) -> dict:
    loaded = Image.Exif()
    loaded.load(exif)
    return dict(loaded if directory is None else loaded.get_ifd(directory))


@pytest.mark.parametrize(
    ("ending", "depth"), [*((ending, 8) for ending in (".png", ".jpg", ".tif", ".webp", ".bmp", ".jp2")), (".avif", 8),
                          (".png", 16), (".tif", 16)],
)  # fmt: skip
def test_formats_keep_what_they_promise(tmp_path, ending, depth) -> None:
    form, given = format_of(f"p{ending}"), described().of_size((6, 8), (1, 1))
    picture = Picture(noise(6, 8, 3, dtype=np.uint8 if depth == 8 else np.uint16), "RGB", given)
    metadata, lost = kept_metadata(picture, form, picture.pixel_format)
    assert write_picture(tmp_path / f"p{ending}", replace(picture, metadata=metadata)) == []
    read = read_picture(tmp_path / f"p{ending}").metadata
    assert (read.icc == given.icc) == ("the colour profile" not in lost)
    assert (read.xmp == given.xmp) == ("XMP" not in lost)
    assert (read.iptc == given.iptc) == ("IPTC" not in lost) == (ending in (".jpg", ".tif"))
    assert "the resolution" in lost or read.dpi == pytest.approx(given.dpi, rel=1e-3)
    assert (read.exif is None) == ("EXIF" in lost)
    if read.exif:
        assert tags(read.exif)[ExifTags.Base.Make] == "Maker"
        assert tags(read.exif, ExifTags.IFD.Exif)[ExifTags.Base.FNumber] == pytest.approx(2.8)
        assert tags(read.exif, ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    expected = {".png": dict(given.text), ".jpg": {"Comment": "größer"}}.get(ending, {})
    assert dict(read.text) == expected
    assert ("texts" in lost) == (expected != given.text)


def test_sizes_resolution_and_orientation_become_true() -> None:
    larger = described().of_size((30, 80), (5, 10))
    assert larger.dpi == (3000, 1500)
    main, camera = tags(larger.exif), tags(larger.exif, ExifTags.IFD.Exif)
    assert (main[ExifTags.Base.Orientation], main[ExifTags.Base.XResolution]) == (1, 3000)
    assert (camera[ExifTags.Base.ExifImageWidth], camera[ExifTags.Base.ExifImageHeight]) == (80, 30)
    assert ExifTags.Base.ImageWidth not in main
    assert b'tiff:Orientation="1"' in larger.xmp
    assert b'exif:PixelXDimension="80"' in larger.xmp
    assert b"<exif:PixelYDimension>30</exif:PixelYDimension>" in larger.xmp


def test_thumbnails_are_dropped(tmp_path) -> None:
    thumbnail = b"\xff\xd8small picture\xff\xd9"
    main = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x0f\0\x02\0\0\0\x04Abc\0" + b"\0\0\0\x1a"
    first = b"\0\x02" + b"\x02\x01\0\x04\0\0\0\x01\0\0\0\x38" + b"\x02\x02\0\x04\0\0\0\x01\0\0\0\x11" + b"\0\0\0\0"
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "p.jpg", exif=b"Exif\0\0" + main + first + thumbnail)
    assert Image.open(tmp_path / "p.jpg").getexif().get_ifd(ExifTags.IFD.IFD1)
    metadata = read_picture(tmp_path / "p.jpg").metadata
    assert tags(metadata.exif) == {ExifTags.Base.Make: "Abc"}
    assert b"small picture" not in metadata.exif


def test_a_profile_of_other_channels_is_not_written() -> None:
    grey = Metadata(icc=bytes(16) + b"GRAY" + bytes(108))
    picture = Picture(noise(2, 2, 1), "L", grey)
    assert kept_metadata(picture, WRITTEN[".png"], picture.pixel_format) == (grey, [])
    assert kept_metadata(picture, WRITTEN[".webp"], PixelFormat("RGB", 8)) == (Metadata(), ["the profile of L"])


def test_no_resolution_is_made_up(tmp_path) -> None:
    for ending, options, dpi in (("jpg", {}, None), ("tif", {}, None), ("tif", {"dpi": (300, 300)}, (300, 300))):
        Image.new("RGB", (4, 4)).save(tmp_path / f"p.{ending}", **options)
        assert read_picture(tmp_path / f"p.{ending}").metadata.dpi == dpi


def test_tags_of_every_tiff_are_no_exif(tmp_path) -> None:
    """What only says how large it is and how it is stored is not told to be lost."""
    Image.fromarray(noise(4, 5, 3)).save(tmp_path / "p.tif", dpi=(72, 72))
    read = read_picture(tmp_path / "p.tif")
    assert (read.metadata.exif, read.metadata.dpi) == (None, (72, 72))
    Image.fromarray(noise(4, 5, 3)).save(tmp_path / "p.tif", tiffinfo={271: "Maker"})
    assert b"Maker" in read_picture(tmp_path / "p.tif").metadata.exif
