"""Of large PNG and TIFF files no more rows are decoded than a crop needs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from pictures import cutting
from pictures.reading import read_picture
from tests.commands import call
from tests.pictures.making import deep_png, noise
from utils.errors import InputError

ROWS = slice(40, 75)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    if pixels.dtype == np.uint16 and path.suffix == ".png":
        deep_png(path, pixels)
    elif "tile" in options or pixels.dtype == np.uint16:
        pytest.importorskip("tifffile").imwrite(path, pixels.squeeze(), metadata=None, **options)
    else:
        Image.fromarray(pixels.squeeze()).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("ending", "channels", "dtype", "options"),
    [
        ("png", 3, np.uint8, {}),
        ("png", 1, np.uint8, {"dpi": (300, 300)}),
        ("png", 3, np.uint16, {}),
        ("tif", 3, np.uint8, {"compression": "tiff_lzw", "strip_size": 16 * 3 * 50, "dpi": (300, 300)}),
        ("tif", 1, np.uint8, {"strip_size": 16 * 50}),
        ("tif", 3, np.uint8, {"compression": "jpeg", "strip_size": 16 * 3 * 50}),
        ("tif", 3, np.uint8, {"tile": (16, 32), "photometric": "rgb", "compression": "zlib", "predictor": True}),
        ("tif", 3, np.uint16, {"rowsperstrip": 10, "photometric": "rgb", "byteorder": ">"}),
        ("tif", 1, np.uint16, {"tile": (32, 16), "byteorder": "<"}),
    ],
)
def test_rows_are_those_of_the_whole(tmp_path, monkeypatch, ending, channels, dtype, options) -> None:
    pixels = noise(200, 50, channels, dtype=dtype)
    path = save(tmp_path / f"p.{ending}", pixels, **options)
    whole = read_picture(path)
    monkeypatch.setattr(cutting, "LARGE", 0)
    monkeypatch.setattr(cutting, "BAND", 16)
    part = read_picture(path, rows=lambda size: ROWS if size == (200, 50) else None)
    assert np.array_equal(part.pixels[ROWS], whole.pixels[ROWS])
    assert not part.pixels[120:].any()
    assert (part.size, part.channels, part.losses) == (whole.size, whole.channels, whole.losses)
    if ending == "png":
        content = path.read_bytes()
        place = content.index(b"IDAT") + 20
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"p\.png"):
            read_picture(path, rows=lambda _: ROWS)
    assert (part.metadata.dpi, part.metadata.exif is None) == (whole.metadata.dpi, whole.metadata.exif is None)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_crops_are_those_of_the_whole(monkeypatch, ending) -> None:
    save(Path(f"in.{ending}"), noise(300, 40, 3), **({"strip_size": 4000} if ending == "tif" else {}))
    options = ("--input", f"in.{ending}", "--model", "s", "--scale", "1.5", "--crop", "10,200,33,40")
    call(demo, *options, "--output", "whole.png")
    monkeypatch.setattr(cutting, "LARGE", 0)
    monkeypatch.setattr(cutting, "BAND", 16)
    read = []
    monkeypatch.setattr(cutting, "cut", lambda *given, cut=cutting.cut: read.append(cut(*given)) or read[-1])
    monkeypatch.setattr("pictures.reading.cut", cutting.cut)
    call(demo, *options, "--output", "part.png")
    with Image.open("whole.png") as whole, Image.open("part.png") as part:
        difference = np.abs(np.array(whole, int) - np.array(part))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    assert 0 < read[0][1] <= 133
