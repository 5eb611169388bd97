"""Reading and writing pictures: files <-> arrays <-> tensors."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from utils.errors import InputError, nearest_name
from utils.files import atomic_file, check_target

EXACT_MODES = ("RGB", "L")
# Formats Pillow recognises but needs Ghostscript, Windows or a plug-in of the user's to decode.
UNDECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
JPEG: tuple[str, dict[str, Any]] = ("JPEG", {"quality": 95, "subsampling": 0})
# Ending -> Pillow's format and options. Only formats that take RGB and grey of any shape and keep the size:
# Pillow also writes icons, which it resizes, palettes and documents.
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".pnm": ("PPM", {}),
    ".jp2": ("JPEG2000", {}),
}
TRANSPARENT = ("PNG", "WEBP", "TIFF", "JPEG2000")  # formats that are written with an alpha channel
ROWS = 256  # of a picture converted at a time


def is_picture(path: Path) -> bool:
    """Whether the file name ends like a picture that can be read; not so hidden files, such as macOS' `._x.png`."""
    form = Image.registered_extensions().get(path.suffix.lower())
    return form in Image.OPEN and form not in UNDECODED and not path.name.startswith(".")


def list_pictures(folder: str | Path) -> list[Path]:
    """Pictures in `folder`, sorted by name; InputError when it is missing or holds none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; put the pictures there or name another folder")
    pictures = sorted(path for path in folder.iterdir() if path.is_file() and is_picture(path))
    if not pictures:
        raise InputError(f"no pictures in {folder}; expected files such as .png or .jpg")
    return pictures


def open_picture(path: str | Path) -> Image.Image:
    """The decoded picture, turned upright (EXIF).

    InputError when the file is missing, no whole picture, or larger than Pillow agrees to decode.
    """
    return _decode(Path(path))[0]


def _decode(path: Path) -> tuple[Image.Image, list[str]]:
    """What `open_picture` returns, and what of the file is lost by decoding it, which only the open file tells."""
    if path.is_dir() or not path.exists():
        raise InputError(f"no picture {path}; check the name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                losses = ["16 bits reduced to 8"] if _is_deep_colour(file) else []
                picture = ImageOps.exif_transpose(file)
                if _has_more_frames(file):
                    losses.append("only the first of its frames used")
                return picture, losses
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture that Pillow can read; convert it to PNG") from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise InputError(f"{path} is too large: over {limit:.0f} megapixels; cut it into smaller pictures") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); the file is broken or cut short") from None


def _is_deep_colour(file: Image.Image) -> bool:
    """Whether Pillow is going to reduce 16-bit channels of a file, opened but not yet loaded, to its 8-bit modes.

    Read off the decoder's layout of the pixels, which JPEG 2000 and AVIF do not have.
    """
    if file.mode.startswith(("I", "F")):
        return False
    layouts = [layout if isinstance(layout, tuple) else (layout,) for *_, layout in file.tile]
    if file.format == "PPM":
        return any(len(layout) == 2 and layout[1] > 255 for layout in layouts)  # (mode, largest level)
    # "RGB;16B" is 16 bits a channel with its byte order; "BGR;16" without one is 16 bits for the whole pixel.
    return any(re.search(r";16[BLN]$", str(layout[0])) for layout in layouts if layout)


def _has_more_frames(file: Image.Image) -> bool:
    """Whether a file whose first frame is loaded has others."""
    if file.format == "PSD":  # Pillow counts the layers, but reads the merged picture
        return False
    try:
        return getattr(file, "is_animated", False)
    except Exception:  # Pillow's parsers raise anything at all on a damaged second frame; the first is whole
        return True


def read_picture(path: str | Path) -> tuple[np.ndarray, str | None]:
    """(H, W, 3) uint8 RGB, or (H, W) uint8 for a grey picture, and a one-line notice when something of the file is
    lost.

    Grey of 16 bits and grey floats in [0, 1] are scaled to 8 bits. InputError as `open_picture`, and for other floats.
    """
    picture, losses = _decode(Path(path))
    if picture.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip, not scale
        losses.insert(0, "16-bit grey reduced to 8 bits")
        pixels = np.round(np.clip(np.array(picture, dtype=np.float64), 0, 65535) / 257).astype(np.uint8)
    elif picture.mode == "F":
        losses.insert(0, "float grey reduced to 8 bits")
        pixels = np.round(_unit_floats(path, picture) * 255).astype(np.uint8)
    elif picture.mode in EXACT_MODES:
        pixels = np.array(picture)
    else:
        losses.insert(0, f"mode {picture.mode} read as RGB")
        pixels = np.array(picture.convert("RGB"))
    if picture.has_transparency_data:
        losses.append("transparency dropped")
    return pixels, f"{path}: {', '.join(losses)}" if losses else None


def _unit_floats(path: str | Path, picture: Image.Image) -> np.ndarray:
    """(H, W) float32 in [0, 1] of a picture in mode F; InputError when its values lie elsewhere or are NaN."""
    values = np.array(picture)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):
        raise InputError(f"{path} holds floats from {low:g} to {high:g}; scale them to 0..1 or convert it to PNG")
    return values


def read_rgb(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of any picture."""
    pixels, _ = read_picture(path)
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W) uint8 -> (3, H, W) float32 in [0, 1]; grey is repeated."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    if tensor.dim() == 2:
        tensor = tensor[:, :, None].expand(-1, -1, 3)
    return tensor.permute(2, 0, 1).float() / 255


def to_pixels(picture: Tensor, grey: bool = False) -> np.ndarray:
    """(3, H, W) in [0, 1], clipped -> (H, W, 3) uint8, rounded; the mean of the channels (H, W) when `grey`.

    Converts a band of rows at a time: beyond the picture and the result, memory does not grow with the height.
    """
    height, width = picture.shape[1:]
    pixels = np.empty((height, width, 1 if grey else 3), np.uint8)
    for top in range(0, height, ROWS):
        band = picture[:, top : top + ROWS]
        if grey:
            band = band.mean(0, keepdim=True)
        levels = (band.clamp(0, 1) * 255).round_().to(torch.uint8)
        pixels[top : top + ROWS] = levels.permute(1, 2, 0).cpu().numpy()  # (rows, W, 1 or 3)
    return pixels[:, :, 0] if grey else pixels


def resize_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 -> (H, W, 3) uint8 with Pillow's antialiased bicubic, as LIIF and LMF make their LR pictures."""
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def holds_transparency(path: str | Path) -> bool:
    """Whether the format of the file's ending is written with transparency."""
    return WRITTEN[Path(path).suffix.lower()][0] in TRANSPARENT


def parse_colour(colour: str) -> tuple[int, int, int] | None:
    """(red, green, blue) of a CSS name or `#rrggbb`, None for `transparent`; InputError for anything else."""
    if colour == "transparent":
        return None
    try:
        channels = ImageColor.getcolor(colour, "RGB")
    except ValueError:
        channels = (-1,)
    if not all(0 <= channel <= 255 for channel in channels):
        raise InputError(f"unknown colour '{colour}'; give transparent, a name such as black, or #rrggbb")
    return channels


def with_background(pixels: np.ndarray, inside: np.ndarray, colour: str) -> np.ndarray:
    """(H, W, 3) or grey (H, W) uint8 with what is not `inside` (H, W) in `colour`, (H, W, 3), or transparent, (H, W,
    4); unchanged where everything is inside."""
    if inside.all():
        return pixels
    rgb = parse_colour(colour)
    pixels = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
    filled = np.where(inside[:, :, None], pixels, np.array(rgb or (0, 0, 0), np.uint8))
    return filled if rgb else np.dstack([filled, np.where(inside, 255, 0).astype(np.uint8)])


def check_writable(path: str | Path) -> Path:
    """`path`, when a picture can be written there in the format of its ending, with folders yet to make; makes none.

    InputError, before any work is done, for an ending not in WRITTEN, a folder, or a place without write permission.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        hint = nearest_name(path.suffix.lower(), WRITTEN)
        raise InputError(f"cannot write {path}: '{path.suffix}' is no format that pictures are written in; {hint}")
    return check_target(path)


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8, in the format of the file's ending, all or nothing; makes the folder.

    Formats with transparency take (H, W, 4), too. Exact but for JPEG, which is written at quality 95 with colours at
    full resolution. InputError as `check_writable`, and when the format cannot hold the picture.
    """
    path = check_writable(path)
    form, options = WRITTEN[path.suffix.lower()]
    with atomic_file(path) as temporary:
        try:
            Image.fromarray(pixels).save(temporary, format=form, **options)
        except (OSError, ValueError, MemoryError) as error:
            raise InputError(f"cannot write {path}: {error or 'too large for this format'}") from None
