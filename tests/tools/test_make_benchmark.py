"""Degraded test sets of make_benchmark: the same for the same seed, in order of strength, and measured by test.py."""

import json
from pathlib import Path

import pytest
from PIL import Image

import test
from pictures.reading import read_rgb
from pictures.similarity import psnr
from pictures.tensors import resize_bicubic, to_tensor
from tests.commands import call, mistake
from tools import make_benchmark
from tools.make_benchmark import STRENGTHS

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_stronger_sets_are_further_from_the_picture(pictures) -> None:
    call(make_benchmark, pictures, "--output", "made", "--scales", "2", "--degraded", ",".join(STRENGTHS))
    for path in sorted(pictures.iterdir()):
        hr = read_rgb(path)
        lr = resize_bicubic(hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2], (hr.shape[0] // 2, hr.shape[1] // 2))
        scores = [psnr(*map(to_tensor, (read_rgb(f"made/{name}/x2/{path.stem}.jpg"), lr))) for name in STRENGTHS]
        assert scores == sorted(scores, reverse=True)
        assert 15 < scores[-1] < scores[0] - 3
        assert Image.open(f"made/weak/x2/{path.stem}.jpg").format == "JPEG"


def test_same_seed_same_bytes_whatever_else_is_made(pictures) -> None:
    for name, seed, strength in (
        ("one", 3, "weak,strong"),
        ("two", 3, "strong"),
        ("three", 4, "strong"),
        ("fewer", 3, "strong"),
    ):
        if name == "fewer":
            (pictures / "c.png").unlink()
        call(make_benchmark, pictures, "--output", name, "--scales", "2.5", "--seed", seed, "--degraded", strength)
    one, two, three, fewer = (
        Path(f"{name}/strong/x2.5/a.jpg").read_bytes() for name in ("one", "two", "three", "fewer")
    )
    assert one == two == fewer != three


def test_test_py_measures_the_sets(pictures, tmp_path) -> None:
    call(make_benchmark, pictures, "--output", "made", "--scales", "2", "--degraded", "weak,strong")
    sets = {name: {"hr": str(pictures), "lr": f"made/{name}/x{{scale}}"} for name in ("weak", "strong")}
    (tmp_path / "t.yaml").write_text(json.dumps({"protocol": "rgb", "scales": [2], "datasets": sets}))
    call(test, "--config", "t.yaml", "--model", "bicubic", "--json", "r.json")
    weak, strong = json.loads((tmp_path / "r.json").read_text())["results"]
    assert weak["mean"]["bicubic"]["psnr"] > strong["mean"]["bicubic"]["psnr"] + 1


def test_mistakes_are_explained_and_write_nothing(pictures, tmp_path, capsys) -> None:
    options = (make_benchmark, pictures, "--output", "x", "--scales")
    assert "--degraded" in mistake(capsys, *options, "2", "--degraded", "huge")
    assert "too small for a scale of 100" in mistake(capsys, *options, "100", "--degraded", "weak")
    assert "needs --scales" in mistake(capsys, make_benchmark, pictures, "--warps", "isc", "--degraded", "weak")
    assert not (tmp_path / "x").exists()
