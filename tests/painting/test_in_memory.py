"""Pictures of every kind in, the same kind out."""

import io
import os
import pickle
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from models.continuous import Tiling
from painting.in_memory import PictureUpscaler, Upscale, _request, load
from tests.commands import ROOT
from tests.pictures.making import noise
from utils.errors import InputError


@pytest.fixture(scope="module")
def upscaler() -> PictureUpscaler:
    return load("s", "cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    """(12, 16, 4) uint8, smooth, the last channel half transparent."""
    blobs = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    return np.array(Image.fromarray(blobs, "RGBA").resize((16, 12), Image.Resampling.BICUBIC))


MODES = {
    "1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "CMYK": "CMYK", "I;16": "I;16", "I": "I",
    "F": "F", "YCbCr": "RGB", "HSV": "RGB",
}  # fmt: skip


@pytest.mark.parametrize(("mode", "expected"), MODES.items())
def test_images_of_pillow(upscaler, pixels, mode, expected) -> None:
    image = Image.fromarray(pixels[:, :, :3])
    if mode in ("I;16", "I", "F"):
        grey = np.array(image.convert("L")) * {"I;16": np.uint16(257), "I": np.int32(257), "F": np.float32(3)}[mode]
        image = Image.fromarray(grey)
    else:
        image = image.convert(mode)
    made = upscaler(image, scale=(2, 1.5))
    assert (image.mode, made.mode, made.size) == (mode, expected, (24, 24))
    small = made.resize((16, 12), Image.Resampling.BOX)
    peak = {"I;16": 65535, "I": 65535, "F": 765}.get(mode, 255)
    given = np.array(image if expected == mode else image.convert(expected), float)
    assert np.abs(np.array(small, float) - given).mean() < (0.3 if mode == "1" else 0.05) * peak


def test_what_an_image_says_beside_its_pixels(upscaler, pixels) -> None:
    image = Image.fromarray(pixels[:, :, :3])
    image.getexif()[0x0112] = 6
    image.info["icc_profile"] = b"profile"
    made = upscaler(image, scale=1)
    assert (made.size, made.info["icc_profile"]) == ((12, 16), b"profile")
    assert np.array_equal(np.array(made), np.rot90(pixels[:, :, :3], -1))


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays(upscaler, pixels, channels, dtype) -> None:
    array = pixels[:, :, 0] if channels is None else pixels[:, :, :channels]
    peak = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    array = (array / 255 * peak).astype(dtype)
    made = upscaler(array, size=(25, 30))
    assert made.dtype == dtype
    assert made.shape == (25, 30, *array.shape[2:])
    assert 0.02 * peak < made.std()
    assert made.max() <= peak
    if channels not in (2, 4):  # colours below what is transparent are others
        assert np.abs(upscaler(array, scale=1) - array.astype(float)).max() < 1e-6 * peak


def test_tensors(upscaler) -> None:
    pictures = torch.rand(2, 3, 8, 9, requires_grad=True)
    made = upscaler(pictures, scale=2.5)
    assert torch.allclose(made, upscaler.upscaler(pictures.detach(), (20, 23)), atol=1e-4)
    assert not made.requires_grad
    assert torch.allclose(upscaler(pictures[0], scale=2.5), made[0], atol=1e-4)
    for dtype in (torch.float16, torch.float64, torch.bfloat16):
        assert upscaler(pictures.to(dtype), scale=2.5).dtype == dtype


def test_kinds_agree(upscaler, pixels) -> None:
    array = pixels[:, :, :3]
    made = upscaler(array, scale=3)
    assert np.array_equal(made, np.array(upscaler(Image.fromarray(array), scale=3)))
    of_tensor = upscaler(torch.from_numpy(array / 255).permute(2, 0, 1), scale=3)
    assert np.array_equal(made, (of_tensor.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def test_homographies(upscaler, pixels) -> None:
    shift = [[1, 0, 4], [0, 1, 0], [0, 0, 1]]
    made = upscaler(pixels[:, :, :3], homography=shift)
    assert made.shape == (12, 16, 3)
    assert not made[:, :4].any()
    assert np.abs(made[:, 5:].astype(float) - pixels[:, 1:12, :3]).mean() < 20
    with_alpha = upscaler(pixels, homography=np.array(shift), size=(12, 30))
    assert with_alpha.shape == (12, 30, 4)
    assert not with_alpha[:, :4, 3].any()
    assert not with_alpha[:, 21:, 3].any()
    assert with_alpha[:, 5:18, 3].any()
    assert upscaler(torch.rand(1, 3, 8, 9), homography=shift)[..., :3].abs().max() == 0
    exact = [[1, 0, 4.123456789012], [0, 1, 0], [0, 0, 1]]  # float32 holds seven digits
    for given in (exact, torch.tensor(exact, dtype=torch.float64)):
        assert _request((9, 9), None, None, given).homography[0][2] == 4.123456789012


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give a scale, or a size"), ({"scale": 2, "size": (5, 5)}, "not both"),
        ({"scale": 2, "homography": np.eye(3)}, "sets the scale itself"),
        *(({"scale": scale}, "expected a number above 0") for scale in ("two", -1, float("nan"))),
        *(({"size": size}, "two whole numbers") for size in (5, (5, 5.5))), ({"size": (0, 5)}, "not possible"),
        *(({"homography": given}, "3x3") for given in ([1, 2], "turn")), ({"homography": np.zeros((3, 3))}, "singular"),
    ],
)  # fmt: skip
def test_options_that_are_mistakes(upscaler, pixels, options, words) -> None:
    with pytest.raises(InputError, match=words):
        upscaler(pixels, **options)


@pytest.mark.parametrize(
    "given",
    [
        "photo.png", np.zeros((2, 3, 5), np.uint8), np.zeros((0, 3, 3), np.uint8), np.zeros((2, 2, 3), int),
        np.full((2, 2, 3), 255.0), np.full((2, 2), np.nan), torch.zeros(1, 1, 4, 4), torch.full((3, 4, 4), torch.nan),
        torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((3, 4, 4), 255.0), Image.fromarray(np.full((2, 2), np.nan)),
    ],
)  # fmt: skip
def test_what_is_no_picture(upscaler, given) -> None:
    with pytest.raises(InputError):
        upscaler(given, scale=2)
    with pytest.raises(InputError):
        upscaler.encode(given)


def test_fields_of_the_model(upscaler) -> None:
    assert (upscaler.tiling, upscaler.scale_range, upscaler.input_channels) == (Tiling.INTERNAL, (1.0, 5.0), 3)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = upscaler.nothing


def test_names_and_devices() -> None:
    assert load("lerf-l", "cpu")(np.zeros((4, 5), np.uint8), scale=2).shape == (8, 10)
    with pytest.raises(InputError, match="shipped models: s"):
        load("nothing")
    with pytest.raises(InputError, match="device"):
        load("s", "tpu")


def test_rows_and_batches_of_pictures(pixels) -> None:
    made = Upscale("bicubic", scale=2)
    copied = pickle.loads(pickle.dumps(made))  # as workers get it
    assert copied({"image": pixels, "name": "a"})["name"] == "a"
    batch = made({"image": np.stack([pixels, pixels]), "name": ["a", "b"]})
    assert (batch["image"].shape, batch["name"]) == ((2, 24, 32, 4), ["a", "b"])
    assert np.array_equal(batch["image"][1], copied({"image": pixels})["image"])
    mixed = np.empty(2, object)
    mixed[0], mixed[1] = pixels, pixels[:5]
    assert [image.shape for image in made({"image": mixed})["image"]] == [(24, 32, 4), (10, 32, 4)]
    assert pickle.loads(pickle.dumps(made))._upscaler is None


def test_a_broken_picture_of_a_batch(pixels) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    broken = [pixels, None, stream.getvalue(), b"broken"]
    with pytest.raises(InputError, match="not a picture"):
        Upscale("bicubic", scale=2)({"image": broken})
    made = Upscale("bicubic", scale=2, raises=False)({"image": broken})
    assert [image.size == 0 for image in made["image"]] == [False, True, False, True]
    assert [error is None for error in made["error"]] == [True, False, True, False]
    assert np.array_equal(made["image"][0], made["image"][2])


@pytest.mark.thorough
def test_batches_in_workers_of_ray(tmp_path) -> None:
    """Mixed sizes, a broken picture among 1,000, a worker that is killed in the middle, and the values of one
    process."""
    ray = pytest.importorskip("ray", reason="needs ray")
    pictures = [noise(8 + number % 3, 9, 3) for number in range(1000)]
    rows = [{"image": picture, "number": number} for number, picture in enumerate(pictures)]
    rows[5]["image"] = np.zeros((2, 3, 9), np.uint8)
    killed = tmp_path / "killed"

    def kill_once(batch: dict) -> dict:
        if 500 in batch["number"] and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

    ray.init(num_cpus=1, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    try:
        data = ray.data.from_items(rows).map_batches(kill_once, batch_size=16)
        made = data.map_batches(Upscale("bicubic", scale=2, raises=False), batch_size=16).take_all()
    finally:
        ray.shutdown()
    assert killed.exists()
    assert sorted(row["number"] for row in made) == [*range(1000)]
    expected = load("bicubic")
    for row in made:
        if row["number"] == 5:
            assert "not a picture" in row["error"]
        else:
            assert np.array_equal(row["image"], expected(pictures[row["number"]], scale=2))
