"""Drawn pictures: the same for the same seed, with the colours and kinds that they promise."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from tests.commands import call, mistake
from tools import make_drawings
from tools.drawings import DRAWINGS, SIDES
from tools.make_drawings import drawing, find_fonts


@pytest.fixture
def fonts(tmp_path: Path) -> Path:
    """A folder of one font, the one that Pillow brings."""
    folder = tmp_path / "fonts" / "deep"
    folder.mkdir(parents=True)
    (folder / "embedded.ttf").write_bytes(ImageFont.load_default(16).path.getvalue())
    return folder.parent


def test_same_seed_draws_the_same_pictures_however_many(fonts, tmp_path, capsys) -> None:
    for name, count, seed in (("few", 3, 5), ("many", 5, 5), ("others", 3, 6)):
        call(make_drawings, "--output", tmp_path / name, "--count", count, "--seed", seed, "--fonts", fonts)
    few, many, others = ([np.array(Image.open(path)) for path in sorted((tmp_path / name).iterdir())]
                         for name in ("few", "many", "others"))  # fmt: skip
    assert [len(few), len(many)] == [3, 5]
    again = ("--output", tmp_path / "few", "--count", 1, "--fonts", fonts)
    assert "name another --output" in mistake(capsys, make_drawings, *again)
    for one, same, other in zip(few, many, others, strict=False):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_every_kind_in_greys_and_in_colours(fonts) -> None:
    found, grey = find_fonts([fonts]), []
    for index in range(2 * len(DRAWINGS)):
        pixels = drawing(index, 0, found)
        assert pixels.dtype == np.uint8
        assert SIDES[0] <= min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= SIDES[1]
        assert pixels.std() > 5, "an empty sheet"
        grey.append(int(np.ptp(pixels, axis=2).max()) == 0)
        assert grey[-1] or index % 3
    assert grey.count(True) < len(DRAWINGS)


def test_text_has_edges_of_one_bit_or_smooth_ones(fonts) -> None:
    found = find_fonts([fonts])
    levels = {len(np.unique(drawing(index, 0, found))) for index in range(0, 300, 30)}  # grey pages of text
    assert min(levels) <= 6, "paper and five inks, hard edges"
    assert max(levels) > 20


def test_fonts_without_letters_are_left_out(fonts, tmp_path, capsys) -> None:
    (fonts / "broken.ttf").write_bytes(b"no font")
    assert [path.name for path in find_fonts([fonts])] == ["embedded.ttf"]
    (fonts / "deep" / "embedded.ttf").unlink()
    arguments = ("--output", tmp_path / "drawn", "--count", 1, "--fonts", fonts)
    said = mistake(capsys, make_drawings, *arguments)
    assert str(fonts) in said
    assert "--fonts" in said
    assert not (tmp_path / "drawn").exists()
