"""What a part of a large output costs when only the LR pixels that it needs are encoded."""

from functools import partial
from typing import Any

import torch

from painting.crops import pixels_for
from painting.layers import drawing
from tools.bench.measures import Figure, in_turn, load, ratio, short_name
from utils.geometry.grids import Grid
from utils.geometry.neighbours import PixelWindow

PARTS = 4  # of either side: a crop is a sixteenth of the output


def crop(arguments: Any) -> dict[str, Figure | float]:
    """The middle sixteenth of an output, compared with the whole, and with the pixels that are encoded for it."""
    (height, width), figures = arguments.size, {}
    for name in arguments.models:
        label, upscaler, picture = short_name(name), load(name, arguments.backend), torch.rand(3, *arguments.input)
        grid = Grid.of_size(arguments.size)
        part = grid.window(height * 3 // 8, width * 3 // 8, (height // PARTS, width // PARTS))
        pixels = pixels_for(upscaler, part, arguments.input) or PixelWindow.whole(arguments.input)
        draws = {"whole": drawing(grid), "crop": drawing(part, pixels=pixels)}
        runs = {run: partial(draw, upscaler, picture) for run, draw in draws.items()}
        times = in_turn(runs, arguments.repeats)
        figures |= {f"{label} {run}, s": Figure.of(values) for run, values in times.items()}
        figures[f"{label} crop / whole"] = ratio(times["crop"], times["whole"])
        figures[f"{label} LR pixels encoded"] = pixels.height * pixels.width / picture[0].numel()
    return figures
