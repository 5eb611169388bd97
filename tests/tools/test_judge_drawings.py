"""The table of drawn pictures: means over pictures, chroma of grey ones alone."""

import numpy as np
import pytest
from PIL import Image

from pictures.similarity import psnr
from pictures.tensors import to_tensor
from tests.commands import mistake
from tools import judge_drawings


def test_filters_keep_greys_and_score_as_computed_by_hand(tmp_path) -> None:
    generator = np.random.default_rng(0)
    expected = []
    for name, channels in (("grey", 1), ("colour", 3)):
        pixels = generator.integers(0, 256, (24, 20, channels), dtype=np.uint8).repeat(3 // channels, axis=2)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        small = Image.fromarray(pixels).resize((10, 12), Image.Resampling.BICUBIC)
        large = np.array(small).repeat(2, axis=0).repeat(2, axis=1)
        expected.append(psnr(to_tensor(large), to_tensor(pixels)))
    header, _, row = judge_drawings.main([str(tmp_path), "--scales", "2", "--model", "nearest"]).splitlines()
    assert header == "| | x2 |"
    assert row == f"| nearest | {sum(expected) / 2:.2f} / 0.0 |"


def test_false_colour_counts_on_grey_pictures_alone(tmp_path, checkpoint, monkeypatch) -> None:
    Image.new("RGB", (40, 40), (90, 90, 90)).save(tmp_path / "a.png")
    assert judged(tmp_path, checkpoint)[1] == 0
    monkeypatch.setattr("models.upscaler.keep_grey", lambda *args: None)
    assert judged(tmp_path, checkpoint)[1] > 1, "random weights colour"
    Image.new("RGB", (40, 40), (90, 90, 91)).save(tmp_path / "a.png")
    assert judged(tmp_path, checkpoint)[1] == 0


def judged(folder, checkpoint) -> tuple[float, float]:
    row = judge_drawings.main([str(folder), "--scales", "2.5", "--model", str(checkpoint)]).splitlines()[-1]
    return tuple(float(value) for value in row.split("|")[2].split("/"))


def test_chroma_is_the_spread_of_the_most_colourful_pixel() -> None:
    picture = to_tensor(np.array([[[9, 9, 9], [10, 30, 20]]], dtype=np.uint8))
    assert judge_drawings.chroma(picture) * 255 == pytest.approx(20)


def test_a_folder_without_pictures(tmp_path, capsys) -> None:
    assert str(tmp_path) in mistake(capsys, judge_drawings, tmp_path, "--model", "nearest")
