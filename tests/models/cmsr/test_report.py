"""CMSR on pictures of every kind, once unless it is to be compared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from models.cmsr import report as cmsr_report
from models.upscaler import Upscaler
from pictures.reading import read_picture
from tests.commands import call
from tests.pictures.making import noise

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """How pictures are rendered, in order."""
    seen = []
    for owner, name in ((Upscaler, "render"), (cmsr_report, "render_controlled")):
        original = getattr(owner, name)

        def watched(*arguments, name=name, original=original):
            seen.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, watched)
    return seen


def test_a_picture_is_rendered_once_unless_compared(checkpoint, capsys, calls) -> None:
    Path("t.yaml").write_text("{6: {1: 0.2, 3: 0.4, 6: 1}}")
    Image.fromarray(noise(12, 10, 3)).save("in.png")
    options = ("--input", "in.png", "--model", checkpoint, "--scale", 6, "--cmsr", "--cmsr-path", "t.yaml")
    options += ("--precision", "float32")  # nothing is rendered to choose one
    call(demo, *options, "--output", "once.png", "--cmsr_map", "map.png")
    assert calls == ["render_controlled"]
    said = capsys.readouterr().out
    assert "of the queries, decoder" in said
    assert "PSNR" not in said
    assert "wrote once.png and map.png" in said
    call(demo, *options, "--output", "twice.png", "--cmsr-report")
    assert calls == ["render_controlled", "render_controlled", "render"]
    assert "PSNR between both" in capsys.readouterr().out
    assert np.array_equal(Image.open("once.png"), Image.open("twice.png"))


def test_alpha_is_not_for_cmsr(checkpoint, calls) -> None:
    Path("t.yaml").write_text("{6: {1: 0.2, 6: 1}}")
    Image.fromarray(noise(12, 10, 4)).save("in.png")
    options = ("--model", checkpoint, "--scale", 6, "--cmsr", "--cmsr_path", "t.yaml", "--precision", "float32")
    call(demo, "--input", "in.png", "--output", "o.png", *options)
    assert calls == ["render_controlled", "render"]
    assert read_picture("o.png").channels == "RGBA"
