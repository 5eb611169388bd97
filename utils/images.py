"""Reading and writing pictures: files <-> arrays <-> tensors."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from utils.errors import InputError, nearest_name
from utils.files import atomic_file

EXACT_MODES = ("RGB", "L")


def is_picture(path: Path) -> bool:
    """Whether the file name ends like a picture that can be read."""
    return path.suffix.lower() in Image.registered_extensions()


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
    """The decoded picture, turned upright (EXIF); InputError when the file is missing or no whole picture."""
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise InputError(f"no picture {path}; check the name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture that Pillow can read; convert it to PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read ({error}); the file is broken or cut short") from None


def read_picture(path: str | Path) -> tuple[np.ndarray, str | None]:
    """(H, W, 3) uint8 RGB, or (H, W) uint8 for a grey picture, and a notice when something of the file is lost."""
    picture = open_picture(path)
    if picture.mode in EXACT_MODES:
        return np.array(picture), None
    if picture.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip, not scale
        levels = np.clip(np.array(picture, dtype=np.float64), 0, 65535)
        return np.round(levels / 257).astype(np.uint8), f"{path}: 16-bit grey reduced to 8 bits"
    loss = "transparency dropped" if picture.has_transparency_data else "converted"
    return np.array(picture.convert("RGB")), f"{path}: mode {picture.mode} read as RGB, {loss}"


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
    """(3, H, W) in [0, 1], clipped -> (H, W, 3) uint8, rounded; the mean of the channels (H, W) when `grey`."""
    if grey:
        picture = picture.mean(0, keepdim=True)
    pixels = (picture.clamp(0, 1) * 255).round_().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return pixels[:, :, 0] if grey else pixels


def resize_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 -> (H, W, 3) uint8 with Pillow's antialiased bicubic, as LIIF and LMF make their LR pictures."""
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def check_writable(path: str | Path) -> Path:
    """`path`, when a picture can be written there in the format of its ending; InputError before any work is done."""
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions() or (
        Image.registered_extensions()[path.suffix.lower()] not in Image.SAVE
    ):
        hint = nearest_name(path.suffix.lower(), [".png", ".jpg", ".webp", ".tiff", ".bmp"])
        raise InputError(f"cannot write {path}: unknown picture format '{path.suffix}'; {hint}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    return path


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8, in the format of the file's ending, all or nothing; makes the folder."""
    path = check_writable(path)
    with atomic_file(path) as temporary:
        try:
            Image.fromarray(pixels).save(temporary, format=Image.registered_extensions()[path.suffix.lower()])
        except (OSError, ValueError) as error:
            raise InputError(f"cannot write {path}: {error}") from None
