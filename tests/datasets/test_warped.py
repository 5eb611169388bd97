"""Pictures under homographies, and the program that makes test sets of them and of pairs of scales."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from evaluation.measure import measure_warped, warped
from evaluation.protocols import find_protocol
from models.checkpoints.loading import load_upscaler
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tests.commands import call, mistake
from tests.datasets.making import paired, wrapper
from tools import make_benchmark
from tools.make_benchmark import WARPS, between, random_homography

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    """Where the first test that needs it keeps what make_benchmark has made."""
    return tmp_path_factory.mktemp("once") / "made"


@pytest.fixture
def made(pictures, once):
    """The folder in which make_benchmark has put its pictures."""
    if not once.exists():
        options = ("--scales", "1.5x2.0,2.4", "--warps", "isc,osc", "--seed", 3)
        call(make_benchmark, pictures, *options, "--output", "made")
        shutil.copytree("made", once)
    shutil.copytree(once, "made", dirs_exist_ok=True)
    return pictures.parent / "made"


def test_scales_are_exact(pictures, made) -> None:
    for name in ("a", "b", "c"):
        height, width = read_rgb(pictures / f"{name}.png").shape[:2]
        lr = Image.open(made / f"LR_bicubic/rrLR_X1.50_2.00/{name}.png")
        assert (lr.height * 3 % 2, lr.height, lr.width) == (0, int(height / 1.5) // 2 * 2, width // 2)
    pairs = paired(made / "LR_bicubic/rrLR_X2.40_2.40", pictures)
    samples = wrapper("sr-implicit-paired", pairs, scale=2.4)
    lr, hr = samples.pair(0)
    assert hr.shape[0] == pytest.approx(2.4 * lr.shape[0])
    enlarged = load_upscaler("bicubic")(to_tensor(lr), hr.shape[:2])[0]
    assert (enlarged - to_tensor(hr)).abs().mean() < 0.03


@pytest.mark.parametrize("warp", WARPS)
def test_warped_pictures_show_what_their_matrix_says(pictures, made, warp) -> None:
    paths = {"root_path_1": str(made / warp), "root_path_2": str(pictures)}
    samples = datasets.make({"name": "warped-image-folders", "args": paths})
    assert len(samples) == 3
    for index in range(3):
        *pair, homography = samples[index]
        assert samples.path(index).name[0] == "abc"[index]
        lr, hr = map(to_tensor, pair)
        picture = warped(load_upscaler("bicubic"), lr, hr, homography)
        score = measure_warped(picture, lr, hr, homography, find_protocol("lerf"))
        assert score["mpsnr"] > 24 or np.isnan(score["mpsnr"])


def test_everything_follows_from_the_seed(pictures, made) -> None:
    shutil.copy(pictures / "a.png", pictures / "0.png")  # one more picture leaves the others as they are
    for output, seed in (("again", 3), ("other", 4)):
        call(make_benchmark, pictures, "--warps", "isc", "--seed", seed, "--output", output)
    first, again, other = ((folder / "isc/b.txt").read_bytes() for folder in (made, Path("again"), Path("other")))
    assert first == again != other


@pytest.mark.parametrize("warp", WARPS)
def test_homographies_stay_inside_and_in_scale(warp) -> None:
    scales, inwards = WARPS[warp]
    generator = np.random.default_rng(0)
    for _ in range(50):
        homography, (height, width) = random_homography((200, 300), scales, inwards, generator)
        corners = torch.tensor([[-0.5, width - 0.5, -0.5], [-0.5, -0.5, height - 0.5], [1, 1, 1]], dtype=torch.float64)
        x, y, w = homography.matrix @ corners
        assert (
            (x / w >= -0.5 - 1e-6) & (x / w <= 299.5 + 1e-6) & (y / w >= -0.5 - 1e-6) & (y / w <= 199.5 + 1e-6)
        ).all()
        assert scales[0] * 0.95 <= 300 / width <= scales[1] * 1.05


def test_nothing_is_overwritten_unless_told(pictures, made, capsys) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert "--overwrite" in mistake(capsys, make_benchmark, pictures, "--warps", "isc", "--output", made)
    assert "--overwrite" in mistake(capsys, make_benchmark, pictures, "--scales", "2.4", "--output", made)
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    torch.save(torch.eye(3), made / "isc/a.pth")
    call(make_benchmark, pictures, "--warps", "isc", "--seed", 9, "--output", made, "--overwrite")
    assert not (made / "isc/a.pth").exists()


def test_four_points_set_a_homography() -> None:
    source, target = torch.rand(4, 2, dtype=torch.float64) * 9, torch.rand(4, 2, dtype=torch.float64) * 9
    sent = between(source, target) @ torch.cat([source.T, torch.ones(1, 4, dtype=torch.float64)])
    assert torch.allclose((sent[:2] / sent[2]).T, target, atol=1e-6)


def test_mistakes_are_explained(pictures, made, capsys) -> None:
    assert "--scales or --warps" in mistake(capsys, make_benchmark, pictures)
    assert "no folder nothere" in mistake(capsys, make_benchmark, "nothere", "--warps", "isc")
    assert "isc or osc" in mistake(capsys, make_benchmark, pictures, "--warps", "ics")
    assert "too small" in mistake(capsys, make_benchmark, pictures, "--scales", "100", "--output", "x")
    assert "pixels" in mistake(capsys, make_benchmark, pictures, "--scales", "1e-9", "--output", "x")
    assert "two decimals" in mistake(capsys, make_benchmark, pictures, "--scales", "2.001,2.004", "--output", "x")
    assert "-1" in mistake(capsys, make_benchmark, pictures, "--warps", "isc", "--seed=-1")
    assert not Path("x").exists()
    Image.open(pictures / "a.png").save(pictures / "a.jpg")
    assert "several pictures named a" in mistake(capsys, make_benchmark, pictures, "--warps", "isc", "--output", "x")
    (pictures / "a.jpg").unlink()
    warped = {"name": "warped-image-folders", "args": {"root_path_1": str(made / "isc"), "root_path_2": str(pictures)}}
    torch.save(torch.eye(3), made / "isc/b.pth")
    with pytest.raises(Exception, match=r"b\.pth and .*b\.txt beside it"):
        datasets.make(warped)
    (made / "isc/b.pth").unlink()
    (made / "isc/b.txt").unlink()
    with pytest.raises(Exception, match=r"isc/b\.png has no homography"):
        datasets.make(warped)
    (made / "isc/b.txt").write_text("1 2 3")
    (pictures / "c.png").unlink()
    with pytest.raises(Exception, match=r"isc/c\.png has no HR picture"):
        datasets.make(warped)
