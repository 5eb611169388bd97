"""Crops: of the picture only the LR pixels that a part of the output is made of are encoded."""

from models.safeguards import reduces_nowhere
from models.upscaler import MARGIN, Upscaler
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import is_enlarged


def pixels_for(upscaler: Upscaler, grid: OutputGrid, input_size: Size) -> PixelWindow | None:
    """The LR pixels of an (h, w) picture from which the positions of a grid, of a window of an output, are painted as
    from all of them; None where the picture has to be encoded whole, or all of it is needed anyway.

    Whole it has to be for models that do not say how far they look, where an output is reduced, and on warps for models
    that do not paint parts there.
    """
    context = upscaler.context
    if context is None:
        return None
    if isinstance(grid, Grid):
        possible = is_enlarged(input_size, grid.full_size)
    else:
        possible = upscaler.model.warps_parts and reduces_nowhere(grid, input_size)
    if not possible:
        return None
    painted = PixelWindow.around(input_size, grid.pixels(input_size), MARGIN)
    encoded = painted.grown(context)
    return None if encoded == PixelWindow.whole(input_size) else encoded
