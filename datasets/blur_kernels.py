"""Blur kernels of degradations, and pictures under them.

The shapes are those of Wang et al., "Real-ESRGAN" (2021), section 3.1 and equation 5. Kernels are (n, n) float64 of
unit sum, n odd; lengths are in pixels of the picture.
"""

import math

import numpy as np
import torch

REACH = 3.0  # of a kernel, in standard deviations; of a sinc, in half waves
LARGEST = 64  # pixels that a kernel reaches from its centre: whole pictures at large scales would wait for more
GENERALISED = (0.5, 4.0)  # range of the exponents
PLATEAU = (1.0, 2.0)
KERNELS = ("isotropic", "anisotropic", "generalised", "plateau", "sinc")


def gaussian(name: str, sigmas: tuple[float, float], source: np.random.Generator) -> np.ndarray:
    """A Gaussian of the first of the `sigmas` (isotropic), or of both along axes turned by a random angle: exp(-d^2/2)
    (anisotropic), exp(-d^(2 b)/2), more pointed or more angular (generalised), or 1/(1 + d^(2 b)), flat in the middle
    (plateau), with a random b."""
    angle = 0.0 if name == "isotropic" else source.uniform(0, math.pi)
    along, across = (sigmas[0], sigmas[0]) if name == "isotropic" else sigmas
    reach = min(LARGEST, max(1, math.ceil(REACH * max(along, across))))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    squared = (u / along) ** 2 + (v / across) ** 2
    if name == "plateau":
        kernel = 1 / (1 + squared ** source.uniform(*PLATEAU))
    else:
        kernel = np.exp(-0.5 * squared ** (source.uniform(*GENERALISED) if name == "generalised" else 1))
    return kernel / kernel.sum()


def sinc(cutoff: float) -> np.ndarray:
    """The round low-pass filter that leaves nothing from `cutoff` on, 1 at the Nyquist frequency, cut off after some
    waves: J1(w r) w / (2 pi r) with w = pi * cutoff."""
    frequency = math.pi * cutoff
    reach = min(LARGEST, math.ceil(REACH / cutoff) + 1)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y, x)
    distance[reach, reach] = 1
    bessel = torch.special.bessel_j1(torch.from_numpy(frequency * distance)).numpy()
    kernel = bessel * frequency / (2 * np.pi * distance)
    kernel[reach, reach] = frequency**2 / (4 * math.pi)
    return kernel / kernel.sum()


def blurred(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 under a kernel, reflected at the edges. By Fourier transforms, which take as long for every
    kernel."""
    reach, (height, width) = len(kernel) // 2, picture.shape[:2]
    mode = "reflect" if min(height, width) > 1 else "edge"
    padded = np.pad(picture.transpose(2, 0, 1).astype(np.float32), ((0, 0), (reach, reach), (reach, reach)), mode)
    size = padded.shape[1:]
    spectrum = np.fft.rfft2(padded) * np.fft.rfft2(kernel.astype(np.float32), s=size)
    values = np.fft.irfft2(spectrum, s=size)[:, 2 * reach :, 2 * reach :]
    return values.transpose(1, 2, 0).clip(0, 255).round().astype(np.uint8)
