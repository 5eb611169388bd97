"""Reading pictures, and finding them in folders."""

import importlib
import io
import mmap
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pictures import deep, exr
from pictures.colour import BT709, SRGB_CURVE, coded_profile, in_rgb, rgb_profile, srgb_of
from pictures.cutting import cut
from pictures.inventory import coding, left_out, mended
from pictures.metadata import ORIENTATION, Metadata
from pictures.picture import PEAKS, Picture, levels
from utils.errors import InputError, one_line
from utils.files import check_regular
from utils.system import check_memory

# Formats Pillow recognises but needs Ghostscript, Windows or a plug-in of the user's to decode.
UNDECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
EXR = ".exr"
# Packages whose plug-ins read what phones take, by the endings and the first bytes of files
PHONES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), ("pillow-heif", "pillow_heif")),
    ".jxl": ("pillow-jxl-plugin", "pillow_jxl"),
}
# Pictures that are not read, or, of cameras, as the preview alone: in a folder they are not left out in silence
NAMED = (EXR, *PHONES, ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2", ".pam")
HEIC = re.compile(rb"....ftyp(hei[cxms]|hev[cxm]|mif1|msf1)", re.DOTALL)
JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
FEW_LEVELS = {"L;2": 4, "L;4": 16}  # of grey by Pillow's layouts
PHOTOMETRIC = 262
ROWS = 256  # of a picture that are copied together
SRGB_GAMMA = 0.45455  # that PNGs in sRGB give
COPIES = 2  # of all pixels, while they are read
STREAM = "-"  # what a picture is called that comes as bytes
# By EXIF's number: whether rows are mirrored, then quarter turns counter-clockwise, to be upright
UPRIGHT = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}
PILLOWS_LIMIT = Lock()
# Pillow's modes that are others in disguise
PLAIN = {"1": "L", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}


def is_picture(path: Path) -> bool:
    """Whether the file name ends like a picture that can be read, or that could with one more package; not so hidden
    files, such as macOS' `._x.png`."""
    ending = path.suffix.lower()
    form = Image.registered_extensions().get(ending)
    known = ending in NAMED or (form in Image.OPEN and form not in UNDECODED)
    return known and not path.name.startswith(".")


def list_pictures(folder: str | Path) -> list[Path]:
    """Pictures in `folder`, or, where it holds none itself, in all folders below it (LSDIR), sorted by name; InputError
    when it is missing or there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; put the pictures there or name another folder")
    for found in (folder.iterdir(), folder.rglob("[!.]*")):
        if pictures := sorted(path for path in found if path.is_file() and is_picture(path)):
            return pictures
    raise InputError(f"no pictures in {folder}; expected files such as .png or .jpg")


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
    except MemoryError:
        raise InputError(f"{name} is too large for the memory that is free; cut it into smaller pictures") from None
    except Exception as error:
        if "imagecodecs" in str(error):
            raise InputError(f"{name}: this kind of TIFF needs one more package: pip install imagecodecs") from None
        raise InputError(
            f"{name} cannot be read ({one_line(str(error))}); it is broken, cut short, or of a kind not read here"
        ) from None


def opened(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Pillow's image of a file, or of the content of one of this name, of which only the head is read; of any size."""
    with io.BytesIO(source) if isinstance(source, bytes) else check_regular(source, "picture").open("rb") as stream:
        head = stream.read(16)
    if HEIC.match(head) or head.startswith(JXL):
        package, module = PHONES[".jxl" if head.startswith(JXL) else ".heic"]
        try:
            plugin = importlib.import_module(module)
        except ImportError:
            raise InputError(f"{name or name_of(source)} needs one more package: pip install {package}") from None
        if package == "pillow-heif":
            plugin.register_heif_opener(thumbnails=False)
    with PILLOWS_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # memory is the limit here
        try:
            return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def name_of(source: str | Path | bytes) -> str:
    """What a picture is called in messages."""
    return STREAM if isinstance(source, bytes) else str(source)


def read_rgb(path: str | Path) -> np.ndarray:
    """(h, w, 3) uint8 RGB of any picture, without its transparency."""
    picture = read_picture(path)
    pixels = levels((in_rgb(picture) if picture.channels == "CMYK" else picture).pixels, 8)
    return np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[:, :, :3])


def read_picture(
    source: str | Path | bytes, name: str | None = None, rows: Callable[[tuple[int, int]], slice | None] | None = None
) -> Picture:
    """The picture of a file, or of a file's content, upright, with all its depth; `name` is what messages call it.

    Palettes are read as RGB (RGBA with transparent entries, grey where all entries are), 1 bit as grey, Lab as sRGB.
    Floats beyond [0, 1] are mapped to it, see `Picture.span`. Slight damage is mended, which is a loss. InputError for
    a file that is missing or no whole picture, floats that are no numbers, and one that needs more memory than is free.

    `rows` says which of an (h, w) picture are needed, None for all: of a large PNG or TIFF the others may be zero.
    """
    name = name or name_of(source)
    with reading_errors(name):
        if rows and (part := _part(source, rows)):
            content, top, height = part
            picture = _read(content, name)
            pixels = np.zeros((height, *picture.pixels.shape[1:]), picture.pixels.dtype)
            pixels[top : top + picture.size[0]] = picture.pixels
            return replace(picture, pixels=pixels)
        content = source if isinstance(source, bytes) else check_regular(source, "picture").read_bytes()
        try:
            return _read(content, name)
        except (InputError, MemoryError):
            raise
        except Exception:
            whole = mended(content)
            if whole is None:
                raise
            picture = _read(whole[0], name)
            return replace(picture, losses=(*picture.losses, whole[1]))


def _part(source: str | Path | bytes, rows: Callable[[tuple[int, int]], slice | None]) -> tuple[bytes, int, int] | None:
    """As `cut`, and the height of the whole; the file stays where it is."""
    with opened(source) as file:
        needed = rows((file.height, file.width))
        if needed is None or isinstance(source, bytes):
            return None
        with open(source, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            part = cut(file, content, needed, lambda part: decoded(opened(part), part, str(source)).pixels)
        return part and (*part, file.height)


def _read(content: bytes, name: str) -> Picture:
    try:
        with opened(content, name) as file:
            if file.format == "PNG":
                opened(content).verify()  # decoding alone leaves out the last checksums
            count = file.width * file.height * max(3, len(file.getbands()))
            check_memory(COPIES * count, f"{name}: reading {file.width}x{file.height} pixels")
            if deep.is_misread(file, content):
                raise UnidentifiedImageError
            picture = decoded(file, content, name)
            losses = [*picture.losses, *left_out(content, file)]
            losses += ["only the first of its frames used"] if has_more_frames(file) else []
            picture = replace(picture, losses=tuple(losses))
            picture = described(picture, file.getexif, file.info, getattr(file, "text", {}))
            return _coloured(picture, file.info, coding(content))
    except UnidentifiedImageError:
        if content.startswith(exr.MAGIC):
            return unit_floats(exr.read(content, name), name)
        if not content.startswith(deep.TIFF):
            raise
        exif = Image.Exif()
        picture = unit_floats(deep.read_other_tiff(content, name), name)
        return described(picture, lambda: exif.load_from_fp(io.BytesIO(content)) or exif)


def _coloured(picture: Picture, info: Mapping[str, Any], code: tuple[int, int] | None) -> Picture:
    """With a profile for colours that a file describes without one."""
    colours, profile, lost = picture.pixel_format.colours, None, None
    if picture.metadata.icc or colours == "CMYK":
        return picture
    if code:
        profile, lost = coded_profile(code, colours == "L")
    elif "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        gamma, places = info.get("gamma", SRGB_GAMMA), info.get("chromaticity", (*BT709[6:], *BT709[:6]))
        primaries, is_srgb_curve = (*places[2:], *places[:2]), abs(gamma - SRGB_GAMMA) < 1e-3
        is_srgb = np.allclose(primaries, BT709, atol=2e-3) and is_srgb_curve
        if not is_srgb and gamma > 0 and min(primaries) >= 0:
            profile = rgb_profile(primaries, SRGB_CURVE if is_srgb_curve else (1 / gamma,), colours == "L")
    losses = (*picture.losses, *([f"without {lost}"] if lost else []))
    return replace(picture, metadata=replace(picture.metadata, icc=profile), losses=losses)


def decoded(file: Image.Image, content: bytes, name: str) -> Picture:
    """Pixels of Pillow's image, of a file that is not yet loaded or without one, in the order in which it holds them.

    Floats as `unit_floats`; InputError for whole numbers beyond 16 bits.
    """
    losses: tuple[str, ...] = ()
    bits, layout = deep.bits_of(file, content), str(next(iter(deep.layouts(file)), ("",))[0])
    if bits == 16:
        deep_ppm = deep.read_ppm(content) if file.format == "PPM" else None
        if picture := deep_ppm or deep.decode_twice(file, content, opened):
            return _with_transparent_colour(picture, file)
    if bits > 8:
        losses = (f"{bits} bits reduced to 8",)
    is_negative = file.format == "TIFF" and file.tag_v2.get(PHOTOMETRIC) == 0  # which Pillow knows of 8 bits alone
    if file.mode == "F":
        pixels = np.array(file)[:, :, None]
        return unit_floats(Picture(1 - pixels if is_negative else pixels, "L"), name)
    if file.mode.startswith("I"):
        pixels = np.array(file)[:, :, None]
        if pixels.min() < 0 or pixels.max() > PEAKS[16]:
            raise InputError(f"{name} holds whole numbers beyond 0 to 65535; convert it to 16 bits, or to floats")
        picture = Picture((PEAKS[16] - pixels if is_negative else pixels).astype(np.uint16), "L")
        return _with_transparent_colour(picture, file)
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
    if file.format == "XBM":  # whose ones are ink
        pixels = PEAKS[8] - pixels
    return _with_transparent_colour(Picture(pixels, mode, losses=losses), file, layout)


def _copied(image: Image.Image) -> np.ndarray:
    """(h, w, C) uint8, some rows after the other: copying all at once takes twice the memory of the result."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, ROWS):
        bottom = min(top + ROWS, image.height)
        rows = np.asarray(image.crop((0, top, image.width, bottom)))
        pixels[top:bottom] = rows.reshape(-1, *pixels.shape[1:])
    return pixels


def _with_transparent_colour(picture: Picture, file: Image.Image, layout: str = "") -> Picture:
    """With alpha where the file names one colour, or level of grey, that is transparent."""
    colour = file.info.get("transparency")
    if picture.pixel_format.has_alpha or colour is None or isinstance(colour, bytes):
        return picture
    if count := FEW_LEVELS.get(layout):
        colour = colour * PEAKS[8] // (count - 1)
    opaque = (picture.pixels != np.array(colour)).any(axis=2, keepdims=True)
    alpha = opaque * picture.pixels.dtype.type(PEAKS[picture.pixel_format.depth])
    return replace(picture, pixels=np.dstack([picture.pixels, alpha]), channels=f"{picture.channels}A")


def unit_floats(picture: Picture, name: str) -> Picture:
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
    mirrored, turns = UPRIGHT.get(orientation, (False, 0))
    upright = np.rot90(picture.pixels[:, ::-1] if mirrored else picture.pixels, turns)
    return replace(picture, pixels=np.ascontiguousarray(upright), metadata=metadata, losses=losses)


def has_more_frames(file: Image.Image) -> bool:
    """Whether a file whose first frame is loaded has others."""
    if file.format == "PSD":  # Pillow counts the layers, but reads the merged picture
        return False
    try:
        return getattr(file, "is_animated", False)
    except Exception:  # Pillow's parsers raise anything at all on a damaged second frame; the first is whole
        return True
