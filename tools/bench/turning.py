"""What is lost by turning a picture and turning it back."""

from torch import Tensor

from models.upscaler import Upscaler
from pictures.similarity import psnr
from utils.geometry.grids import Size
from utils.geometry.homographies import Homography
from utils.geometry.sizes import rotated_size


def turned_back(upscaler: Upscaler, picture: Tensor, degrees: float) -> float:
    """PSNR in dB of the middle half of `picture` (3, h, w) in [0, 1] after turning it and turning it back."""
    size: Size = tuple(picture.shape[-2:])
    turned_size = rotated_size(size, degrees)
    there, back = Homography.rotation(degrees, size, turned_size), Homography.rotation(-degrees, turned_size, size)
    turned = upscaler(picture, there.grid(size, turned_size))
    returned = upscaler(turned, back.grid(turned_size, size))
    height, width = size
    middle = (..., slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    return psnr(returned[0].cpu()[middle], picture[middle])
