"""The curves of a run as a picture: loss and validation PSNR over the epochs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from utils.files import atomic_file

PLOT = "plot.png"
WIDTH, HEIGHT = 800, 300  # of each panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 36, 40  # margins
GREY, DARK, BLUE = "#d8d8d8", "#333333", "#1f5fa8"
PANELS = {"loss": "training loss", "psnr": "validation PSNR, dB"}


def plot_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw the `history` of a run (see `training.watching`) to plot.png in its folder: a panel for what it has."""
    curves = {
        key: [(row["epoch"], row[key]) for row in history if math.isfinite(row.get(key, math.nan))] for key in PANELS
    }
    curves = {key: points for key, points in curves.items() if points}
    picture = Image.new("RGB", (WIDTH, HEIGHT * max(1, len(curves))), "white")
    for number, (key, points) in enumerate(curves.items()):
        draw_panel(ImageDraw.Draw(picture), number * HEIGHT, PANELS[key], points)
    with atomic_file(folder / PLOT) as temporary:
        picture.save(temporary, "PNG")


def draw_panel(draw: ImageDraw.ImageDraw, top: int, title: str, points: Sequence[tuple[float, float]]) -> None:
    """A curve through `points` (epoch, value) with axes, `top` pixels down."""
    font = ImageFont.load_default(14)
    x_ticks, y_ticks = (ticks(min(values), max(values)) for values in zip(*points, strict=True))
    x_ticks = [tick for tick in x_ticks if tick == round(tick)]

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = share(epoch, points[0][0], points[-1][0])
        up = share(value, min(y_ticks[0], *(v for _, v in points)), max(y_ticks[-1], *(v for _, v in points)))
        return LEFT + across * (WIDTH - LEFT - RIGHT), top + HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    for tick in y_ticks:
        _, y = place(points[0][0], tick)
        draw.line([(LEFT, y), (WIDTH - RIGHT, y)], GREY)
        draw.text((LEFT - 8, y), f"{tick:.6g}", DARK, font, anchor="rm")
    for tick in x_ticks:
        x, y = place(tick, y_ticks[0])[0], top + HEIGHT - BOTTOM
        draw.line([(x, y), (x, y + 4)], DARK)
        draw.text((x, y + 8), f"{tick:.0f}", DARK, font, anchor="mt")
    draw.line([(LEFT, top + TOP), (LEFT, top + HEIGHT - BOTTOM), (WIDTH - RIGHT, top + HEIGHT - BOTTOM)], DARK)
    draw.text((LEFT, top + 8), title, DARK, font)
    draw.text((WIDTH - RIGHT, top + HEIGHT - 4), "epoch", DARK, font, anchor="rb")
    places = [place(*point) for point in points]
    draw.line(places, BLUE, 2, joint="curve")
    for x, y in places if len(places) < 60 else places[-1:]:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), BLUE)


def share(value: float, low: float, high: float) -> float:
    """Where `value` lies between `low`, 0, and `high`, 1; in the middle when these are one."""
    return 0.5 if low == high else (value - low) / (high - low)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers from `low` to `high`; `low` alone where there is none."""
    if low == high:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) < most)
    return [round(step * number, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]
