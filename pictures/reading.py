"""Reading pictures, and finding them in folders."""

import io
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pictures import deep, exr
from pictures.colour import cmyk_image, srgb_of
from pictures.metadata import ORIENTATION, Metadata
from pictures.picture import PEAKS, Picture, levels
from utils.errors import InputError

# Formats Pillow recognises but needs Ghostscript, Windows or a plug-in of the user's to decode.
UNDECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
EXR = ".exr"
ROWS = 256  # of a picture that are copied together
STREAM = "-"  # what a picture is called that comes as bytes
# How rows and columns are put upright, by EXIF's number
UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
# Pillow's modes that are others in disguise
PLAIN = {"1": "L", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}


def is_picture(path: Path) -> bool:
    """Whether the file name ends like a picture that can be read; not so hidden files, such as macOS' `._x.png`."""
    ending = path.suffix.lower()
    form = Image.registered_extensions().get(ending)
    known = ending == EXR or (form in Image.OPEN and form not in UNDECODED)
    return known and not path.name.startswith(".")


def list_pictures(folder: str | Path) -> list[Path]:
    """Pictures in `folder`, sorted by name; InputError when it is missing or holds none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; put the pictures there or name another folder")
    pictures = sorted(path for path in folder.iterdir() if path.is_file() and is_picture(path))
    if not pictures:
        raise InputError(f"no pictures in {folder}; expected files such as .png or .jpg")
    return pictures


def check_readable(path: Path) -> None:
    """InputError unless `path` is a regular file: others, such as pipes, may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        mode = 0
    if not mode or stat.S_ISDIR(mode):
        raise InputError(f"no picture {path}; check the name")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is no file but a pipe or a device; give - and send the picture to the standard input")


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Whatever a damaged file makes the parsers of Pillow, tifffile and OpenEXR raise is an InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture that Pillow can read; convert it to PNG") from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise InputError(f"{name} is too large: over {limit:.0f} megapixels; cut it into smaller pictures") from None
    except MemoryError:
        raise InputError(f"{name} is too large for the memory that is free; cut it into smaller pictures") from None
    except Exception as error:
        raise InputError(f"{name} cannot be read ({error}); the file is broken or cut short") from None


def _stream(source: str | Path | bytes) -> io.BytesIO | Path:
    """What Pillow and tifffile open, as often as they like."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    check_readable(Path(source))
    return Path(source)


def opened(source: str | Path | bytes) -> Image.Image:
    """Pillow's image of a file, or of a file's content, of which only the head is read."""
    return Image.open(_stream(source))


def open_picture(path: str | Path) -> Image.Image:
    """The decoded picture, turned upright (EXIF).

    InputError when the file is missing, no whole picture, or larger than Pillow agrees to decode.
    """
    with reading_errors(str(path)), opened(path) as file:
        return ImageOps.exif_transpose(file)


def read_rgb(path: str | Path) -> np.ndarray:
    """(h, w, 3) uint8 RGB of any picture, without its transparency."""
    picture = read_picture(path)
    pixels = levels(picture.pixels, 8)
    if picture.channels == "CMYK":
        return np.array(srgb_of(cmyk_image(pixels), picture.metadata.icc))
    return np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[:, :, :3])


def read_picture(source: str | Path | bytes) -> Picture:
    """The picture of a file, or of a file's content, upright, with all its depth.

    Palettes are read as RGB (RGBA with transparent entries, grey where all entries are), 1 bit as grey, Lab as sRGB.
    Floats beyond [0, 1] are mapped to it, see `Picture.span`. InputError as `open_picture`, and for floats that are no
    numbers.
    """
    name = STREAM if isinstance(source, bytes) else str(source)
    with reading_errors(name):
        try:
            with opened(source) as file:
                if file.format == "PNG":
                    file.verify()  # decoding alone leaves out the last checksums
            with opened(source) as file:
                if deep.is_misread(file):
                    raise UnidentifiedImageError
                picture = _decoded(file, source, name)
                if has_more_frames(file):
                    picture = replace(picture, losses=(*picture.losses, "only the first of its frames used"))
                return described(picture, file.getexif, file.info, getattr(file, "text", {}))
        except UnidentifiedImageError:
            if exr.is_exr(_stream(source)):
                return _unit_floats(exr.read(_stream(source), name), name)
            if not deep.is_tiff(_stream(source)):
                raise
            picture = _unit_floats(Picture(*deep.read_other_tiff(_stream(source), name)), name)
            return described(picture, lambda: deep.tiff_exif(_stream(source)))


def _decoded(file: Image.Image, source: str | Path | bytes, name: str) -> Picture:
    """Pixels of an opened file that is not yet loaded, in the order in which it stores them."""
    losses: tuple[str, ...] = ()
    if deep.is_reduced(file):
        with opened(source) as again:
            deep_ppm = deep.read_ppm(again) if file.format == "PPM" else None
            picture = deep_ppm or deep.decode_twice(file, again)
        if picture is not None:
            return _with_transparent_colour(picture, file)
        losses = ("16 bits reduced to 8",)
    if (bits := deep.avif_bits(file)) > 8:
        losses = (f"{bits} bits reduced to 8",)
    if file.mode == "F":
        return _unit_floats(Picture(np.array(file)[:, :, None], "L"), name)
    if file.mode.startswith("I"):
        pixels = np.array(file)[:, :, None]
        if pixels.min() < 0 or pixels.max() > PEAKS[16]:
            raise InputError(f"{name} holds numbers from {pixels.min()} to {pixels.max()}; convert it to 16 bits")
        return _with_transparent_colour(Picture(pixels.astype(np.uint16), "L"), file)
    if file.mode == "P":
        picture = file.convert("RGBA" if file.has_transparency_data else "RGB")
        pixels = np.array(picture)
        if not file.info.get("icc_profile") and (pixels[:, :, :1] == pixels[:, :, 1:3]).all():
            return Picture(np.delete(pixels, (1, 2), axis=2), picture.mode.replace("RGB", "L"))
        return Picture(pixels, picture.mode)
    if file.mode == "LAB":
        rgb = np.array(srgb_of(file, file.info.pop("icc_profile", None)))
        return Picture(rgb, "RGB", losses=(*losses, "Lab converted to RGB"))
    mode = PLAIN.get(file.mode, file.mode)
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        losses = (*losses, f"mode {mode} read as RGB")
        mode = "RGB"
    pixels = _copied(file if mode == file.mode else file.convert(mode))
    return _with_transparent_colour(Picture(pixels, mode, losses=losses), file)


def _copied(image: Image.Image) -> np.ndarray:
    """(h, w, C) uint8, some rows after the other: copying all at once takes twice the memory of the result."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, ROWS):
        bottom = min(top + ROWS, image.height)
        rows = np.asarray(image.crop((0, top, image.width, bottom)))
        pixels[top:bottom] = rows.reshape(-1, *pixels.shape[1:])
    return pixels


def _with_transparent_colour(picture: Picture, file: Image.Image) -> Picture:
    """With alpha where the file names one colour, or level of grey, that is transparent."""
    colour = file.info.get("transparency")
    if picture.pixel_format.has_alpha or colour is None or isinstance(colour, bytes):
        return picture
    opaque = (picture.pixels != np.array(colour)).any(axis=2, keepdims=True)
    alpha = opaque * picture.pixels.dtype.type(PEAKS[picture.pixel_format.depth])
    return replace(picture, pixels=np.dstack([picture.pixels, alpha]), channels=f"{picture.channels}A")


def _unit_floats(picture: Picture, name: str) -> Picture:
    """With floats, if it has such, in [0, 1]; alpha is clipped."""
    if picture.pixel_format.depth != 32:
        return picture
    count = len(picture.pixel_format.colours)
    colours = picture.pixels[:, :, :count]
    low, high = float(colours.min()), float(colours.max())
    if not np.isfinite(picture.pixels).all():
        raise InputError(f"{name} holds floats that are no numbers; replace them, or convert it to PNG")
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    unit = (colours - low) / max(high - low, np.finfo(np.float32).tiny)
    pixels = np.dstack([unit, picture.pixels[:, :, count:].clip(0, 1)]).astype(np.float32)
    return replace(picture, pixels=pixels, span=(low, high))


def described(
    picture: Picture,
    read_exif: Callable[[], Image.Exif],
    info: Mapping[str, Any] = MappingProxyType({}),
    text: Mapping[str, str] = MappingProxyType({}),
) -> Picture:
    """Upright, with what the loaded file says beside its pixels."""
    losses, metadata, orientation = picture.losses, Metadata(), 1
    try:
        exif = read_exif()
        orientation = exif.get(ORIENTATION, 1)
        metadata = Metadata.of(info, exif, text)
    except Exception as error:  # Pillow's parsers raise anything at all on damaged EXIF; the pixels are whole
        losses = (*losses, f"metadata that cannot be read ({error})")
    upright = UPRIGHT.get(orientation, lambda pixels: pixels)(picture.pixels)
    return replace(picture, pixels=np.ascontiguousarray(upright), metadata=metadata, losses=losses)


def has_more_frames(file: Image.Image) -> bool:
    """Whether a file whose first frame is loaded has others."""
    if file.format == "PSD":  # Pillow counts the layers, but reads the merged picture
        return False
    try:
        return getattr(file, "is_animated", False)
    except Exception:  # Pillow's parsers raise anything at all on a damaged second frame; the first is whole
        return True
