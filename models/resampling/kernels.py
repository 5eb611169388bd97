"""Resampling kernels: how much a pixel counts for a position, given how far away it is and what shapes its kernel."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Kernel:
    """Weight of a pixel at a distance (dy, dx) = position - pixel centre, in (stretched) pixels.

    `radius` is the support to each side of a position; `hyper_parameters` names the values, in [0, 1], that each pixel
    brings along to shape its own kernel. Weights are normalised by their sum later on, so only ratios matter.
    """

    radius: float
    hyper_parameters: tuple[str, ...] = ()

    def weight(self, dy: Tensor, dx: Tensor, hyper: Sequence[Tensor]) -> Tensor:
        """Weights of any shape that the distances and the hyper-parameters broadcast to."""
        raise NotImplementedError


class SeparableKernel(Kernel):
    """A fixed kernel, the product of one profile along y and x."""

    def profile(self, distance: Tensor) -> Tensor:
        """Weight at a distance >= 0; 0 from `radius` on."""
        raise NotImplementedError

    def weight(self, dy: Tensor, dx: Tensor, hyper: Sequence[Tensor] = ()) -> Tensor:
        return self.profile(dy.abs()) * self.profile(dx.abs())


class Triangle(SeparableKernel):
    """Linear interpolation."""

    radius = 1

    def profile(self, distance: Tensor) -> Tensor:
        return (1 - distance).clamp(min=0)


class Cubic(SeparableKernel):
    """Cubic convolution (Keys, 1981) with slope `a` at distance 1."""

    radius = 2

    def __init__(self, a: float):
        self.a = a

    def profile(self, distance: Tensor) -> Tensor:
        near = ((self.a + 2) * distance - (self.a + 3)) * distance**2 + 1
        far = self.a * (((distance - 5) * distance + 8) * distance - 4)
        return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


class WindowedSinc(SeparableKernel):
    """Lanczos' kernel with three lobes."""

    radius = 3

    def profile(self, distance: Tensor) -> Tensor:
        inside = torch.sinc(distance) * torch.sinc(distance / self.radius)
        return torch.where(distance < self.radius, inside, torch.zeros_like(inside))


class AmplifiedLinear(Kernel):
    """LeRF-L: linear interpolation whose slope each pixel sets, 2 alpha - 1 (LeRF, section 3.2); alpha = 1 is plain
    linear interpolation, alpha = 1/2 a box."""

    hyper_parameters = ("alpha",)

    def __init__(self, radius: float = 1):
        self.radius = radius

    def weight(self, dy: Tensor, dx: Tensor, hyper: Sequence[Tensor]) -> Tensor:
        slope = 2 * hyper[0] - 1
        return (1 - slope * dy.abs()).clamp(min=0) * (1 - slope * dx.abs()).clamp(min=0)


class SteerableGaussian(Kernel):
    """LeRF-G: an anisotropic Gaussian with correlation 2 rho - 1 and inverse widths 10 sigma_x (along y, as published)
    and 10 sigma_y (LeRF, equation 4); rho = 1/2 and equal sigmas are an isotropic Gaussian."""

    hyper_parameters = ("rho", "sigma_x", "sigma_y")

    def __init__(self, radius: float = 1):
        self.radius = radius

    def weight(self, dy: Tensor, dx: Tensor, hyper: Sequence[Tensor]) -> Tensor:
        rho, sigma_x, sigma_y = hyper
        y, x, correlation = 10 * sigma_x * dy, 10 * sigma_y * dx, 2 * rho - 1
        # y^2 - 2 r y x + x^2, without its cancellation where r is near 1
        return torch.exp(-0.5 * ((y - correlation * x) ** 2 + (1 - correlation**2) * x * x))
