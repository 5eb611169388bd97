"""Degraded LR pictures: repeatable, in place, and each step as strong as its settings say."""

import random

import numpy as np
import pytest

from datasets.blur_kernels import KERNELS, blurred, gaussian, sinc
from datasets.degradation import Degradation, add_gaussian, add_poisson, registry
from pictures.tensors import resize_bicubic
from tests.datasets.making import folder, mistake, wrapper
from utils.config import load_config
from utils.random_state import repeatable

PHOTO = "configs/train-lmf/train_edsr-s-lmliif-photo.yaml"
ALL = {"second": 1, "blur": {}, "resize": {}, "noise": {}, "ringing": {}, "compression": {}}
SOFT = {"kernels": {"isotropic": 1}, "sigma": [1, 1]}


def smooth(height: int, width: int) -> np.ndarray:
    """A picture of soft blobs, the same each time."""
    blobs = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return resize_bicubic(blobs, (height, width))


def test_items_follow_from_the_random_state_and_without_one_nothing_changes(pictures) -> None:
    plain, degraded = (
        wrapper("sr-implicit-downsampled", folder(pictures), inp_size=8, scale_max=4, sample_q=16, **settings)
        for settings in ({}, {"degradation": ALL})
    )

    def item(samples, seed):
        with repeatable(seed):
            return {key: value.tolist() for key, value in samples[0].items()}

    assert item(degraded, 1) == item(degraded, 1)
    assert item(degraded, 1)["inp"] != item(degraded, 2)["inp"]
    assert item(degraded, 1)["inp"] != item(plain, 1)["inp"]


@pytest.mark.parametrize("scale", [0.7, 2.5])
def test_what_is_shown_stays_in_place_at_any_scale(scale) -> None:
    """A degraded picture is nearer to the LR picture than to the same moved by a pixel."""
    hr = smooth(round(40 * scale), round(32 * scale))
    lr = resize_bicubic(hr, (40, 32)).astype(float)
    make = Degradation(ALL | {"noise": {"sigma": [1, 4]}, "compression": {"quality": [70, 95]}})
    random.seed(0)
    mean = np.mean([make(hr, (40, 32)) for _ in range(30)], axis=0)

    def error(dy, dx):
        moved = np.roll(lr, (dy, dx), (0, 1))
        return np.abs(moved - mean)[4:-4, 4:-4].mean()

    assert mean.shape == (40, 32, 3)
    assert error(0, 0) < 0.6 * min(error(0, 1), error(1, 0), error(0, -1), error(-1, 0))


def test_clean_items_are_bicubic_and_as_many_as_asked() -> None:
    hr = smooth(64, 64)
    lr = resize_bicubic(hr, (16, 16))
    make = Degradation({"clean": 0.3, "noise": {"sigma": [20, 20]}})
    random.seed(0)
    clean = sum(np.array_equal(make(hr, (16, 16)), lr) for _ in range(200))
    assert 40 < clean < 80
    assert np.array_equal(Degradation({"clean": 1, "noise": {}})(hr, (16, 16)), lr)


def test_kernels_keep_brightness_and_place() -> None:
    source = np.random.default_rng(0)
    for name in KERNELS:
        kernel = sinc(0.4) if name == "sinc" else gaussian(name, (1.5, 2.5), source)
        rows, columns = np.indices(kernel.shape) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1)
        assert (kernel * rows).sum() == pytest.approx(0, abs=1e-9)
        assert (kernel * columns).sum() == pytest.approx(0, abs=1e-9)
    kernel = gaussian("isotropic", (2.0, 9.0), source)
    rows, _ = np.indices(kernel.shape) - len(kernel) // 2
    assert (kernel * rows**2).sum() == pytest.approx(4, rel=0.05)


def test_blur_is_the_convolution_with_reflected_edges() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    kernel = np.arange(9.0).reshape(3, 3) / 36
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), "reflect").astype(float)
    expected = sum(kernel[2 - i, 2 - j] * padded[i : i + 7, j : j + 9] for i in range(3) for j in range(3))
    assert np.abs(blurred(picture, kernel).astype(float) - expected).max() <= 0.51


def test_sinc_stops_what_is_above_its_cutoff_and_passes_what_is_below() -> None:
    columns = np.arange(128)

    def amplitude(frequency):
        wave = 128 + 100 * np.cos(np.pi * frequency * columns)
        picture = np.broadcast_to(wave[None, :, None], (128, 128, 3)).round().astype(np.uint8)
        return (blurred(picture, sinc(0.5))[64, 32:96, 0].astype(float) - 128).std() / (100 / 2**0.5)

    assert amplitude(0.25) > 0.85
    assert amplitude(0.75) < 0.15


@pytest.mark.parametrize("grey", [False, True])
def test_noise_is_as_strong_as_asked(grey) -> None:
    source = np.random.default_rng(0)
    for level, of_poisson in ((60, 8 * (60 / 255) ** 0.5), (200, 8 * (200 / 255) ** 0.5)):
        flat = np.full((100, 100, 3), level, np.uint8)
        for make, sigma in ((add_gaussian, 8), (add_poisson, of_poisson)):
            noisy = make(flat, 8, grey, source).astype(float)
            assert noisy.std() == pytest.approx(sigma, rel=0.06)
            assert noisy.mean() == pytest.approx(level, abs=0.3)
            assert (np.ptp(noisy, axis=2).max() == 0) == grey


def test_blur_is_measured_in_lr_pixels() -> None:
    """An edge is as wide in the LR picture whatever the scale."""
    widths = []
    for scale in (2, 6):
        hr = np.zeros((32 * scale, 32 * scale, 3), np.uint8)
        hr[:, 16 * scale :] = 255
        rows = Degradation({"second": 0, "blur": SOFT | {"sigma": [2, 2]}})(hr, (32, 32))[16, :, 0].astype(float)
        widths.append(255 / np.abs(np.diff(rows)).max())
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    assert widths[0] == pytest.approx(2 * (2 * np.pi) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nose": {}}, ["degradation", "nose", "noise"]),
        ({"clean": 2, "noise": {}}, ["degradation.clean is 2"]),
        ({}, ["degradation has no step"]),
        ({"noise": {"sigma": 5}}, ["'noise': sigma is 5", "[smallest, largest]"]),
        ({"noise": {"sigma": [5, 1]}}, ["sigma is [5, 1]"]),
        ({"noise": 3}, ["'noise'", "3"]),
        ({"compression": {"quality": [0, 50]}}, ["quality is [0, 50]", "1 to 100"]),
        ({"blur": {"kernels": {"round": 1}}}, ["round", "kernels"]),
        ({"blur": {"kernels": {"isotropic": -1}}}, ["kernels.isotropic is -1"]),
        ({"blur": {"kernels": {"isotropic": 0}}}, ["all weights"]),
        ({"resize": {"sides": [0, 1]}}, ["sides is [0, 1]"]),
        ({"blur": {"sgima": [1, 2]}}, ["sgima", "'sigma'"]),
    ],
)
def test_wrong_settings_are_explained(pictures, settings, words) -> None:
    mistake(lambda: wrapper("sr-implicit-downsampled", folder(pictures), degradation=settings), *words)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (70, 9)])
def test_pictures_of_any_size(size) -> None:
    make = Degradation(ALL)
    for seed in range(8):
        random.seed(seed)
        assert make(smooth(*size), size).shape == (*size, 3)
        assert make(smooth(size[0] * 3, size[1] * 3), size).shape == (*size, 3)


def test_config_for_photographs_uses_every_step() -> None:
    config = load_config(PHOTO)
    for part in ("train_dataset", "val_dataset"):
        make = Degradation(config[part]["wrapper"]["args"]["degradation"])
        assert set(make.steps) == set(registry.factories)
        assert 0 < make.clean < 0.5
