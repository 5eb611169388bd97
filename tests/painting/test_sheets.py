"""The sheet that compares."""

import numpy as np
from PIL import Image

from painting.sheets import CROP, GAP, LABEL, comparison_sheet, textured_crops


def test_the_most_textured_parts_are_chosen() -> None:
    lr = np.full((96, 128, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    lr[32:64, 64:96] = noise
    lr[64:96, 0:32] = noise // 2
    crops = textured_crops(lr, (4 * 96, 4 * 128))
    assert crops[:2] == [(256, 128, CROP, CROP), (0, 256, CROP, CROP)]
    assert len(crops) == 3
    assert textured_crops(lr[:8, :9], (16, 18)) == [(0, 0, 18, 16)]


def test_every_tile_shows_the_same_part() -> None:
    ramp = np.linspace(0, 255, 40).astype(np.uint8)[None, :, None].repeat(30, 0).repeat(3, 2)
    result = np.array(Image.fromarray(ramp).resize((160, 120), Image.Resampling.BICUBIC))
    result[60:80, 100:120] = 255
    sheet = comparison_sheet(ramp, result, "mine", [(80, 40, 64, 64)])
    side = 320
    tiles = [sheet[LABEL : LABEL + side, GAP + i * (side + GAP) :][:, :side].astype(int) for i in range(4)]
    assert sheet.shape == (2 * LABEL + side + GAP, 4 * (side + GAP) + GAP, 3)
    assert abs(tiles[1][:80] - tiles[2][:80]).max() == 0
    assert abs(tiles[0] - tiles[1]).max() < 12
    assert (tiles[2][100:200, 100:200] == 255).all()
    changed = np.array([[(20 <= y // 5 < 40) and (20 <= x // 5 < 40) for x in range(side)] for y in range(side)])
    assert (tiles[3][~changed] == 0).all()
    assert (tiles[3][changed] > 100).all()
    assert (sheet[:LABEL] < 128).any()  # labels
