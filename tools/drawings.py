"""Drawings of make_drawings: a sheet with its inks and strokes, and the subjects on it: text, tables, line art, plots,
diagrams, screens, pixel art, flat colours and gratings."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDES = (256, 512)  # pixels
LETTERS = "eeeetttaaaooiinnsshhrrddllccuummwwffggyyppbbvkjxqz"
Colour = tuple[int, int, int]
Point = tuple[float, float]


class Sheet:
    """Paper of a random size and colour, inks that stand out from it, and the strokes of all drawings.

    Lengths and positions (x, y) are output pixels. `zoom` above 1 draws larger and reduces, so that every edge is
    smooth; else edges are hard and text is either smooth or has one bit.
    """

    def __init__(self, source: random.Random, fonts: Sequence[Path], grey: bool):
        self.random = source
        self.grey = grey
        self.width, self.height = source.randint(*SIDES), source.randint(*SIDES)
        self.zoom = source.choice((1, 1, 3))
        self.fonts = source.sample(list(fonts), min(3, len(fonts)))
        self.paper, self.inks = self._colours()
        self.picture = Image.new("RGB", (self.width * self.zoom, self.height * self.zoom), self.paper)
        self.draw = ImageDraw.Draw(self.picture)
        self.draw.fontmode = "1" if self.zoom == 1 and source.random() < 0.4 else "L"

    def _colours(self) -> tuple[Colour, list[Colour]]:
        """The paper's colour and the inks': half the time black on white or white on black, alone or with others."""
        black, white = (0, 0, 0), (255, 255, 255)
        paper, ink = self.random.choice(((white, black), (white, black), (black, white)))
        kind = self.random.random()
        if kind < 0.2:
            return paper, [ink]
        if kind < 0.5:
            return paper, [ink, *(self._ink(paper) for _ in range(4))]
        paper = self.colour()
        return paper, [self._ink(paper) for _ in range(5)]

    def colour(self) -> Colour:
        """Any colour, often a pure one; a grey on a grey sheet."""
        levels = (0, 255, 255, 128) if self.random.random() < 0.3 else range(256)
        if self.grey:
            return (self.random.choice(levels),) * 3
        return tuple(self.random.choice(levels) for _ in range(3))

    def _ink(self, paper: Colour) -> Colour:
        """A colour whose brightness differs from the paper's by at least 70."""
        while True:
            colour = self.colour()
            if abs(sum(colour) - sum(paper)) >= 210:
                return colour

    def ink(self) -> Colour:
        return self.random.choice(self.inks)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.array(self.picture.reduce(self.zoom))

    def place(self, margin: float = 0) -> Point:
        return self.random.uniform(margin, self.width - margin), self.random.uniform(margin, self.height - margin)

    def scaled(self, points: Sequence[Point]) -> list[tuple[int, int]]:
        return [(round(x * self.zoom), round(y * self.zoom)) for x, y in points]

    def line(self, points: Sequence[Point], ink: Colour, width: float = 1) -> None:
        self.draw.line(self.scaled(points), ink, max(1, round(width * self.zoom)), joint="curve")

    def box(self, x: float, y: float, width: float, height: float, fill: Colour | None, outline: Colour) -> None:
        edges = self.scaled([(x, y), (x + width, y + height)])
        self.draw.rectangle(edges, fill, outline, self.zoom)

    def disc(self, x: float, y: float, radius: float, fill: Colour | None, outline: Colour, width: int = 1) -> None:
        edges = self.scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.ellipse(edges, fill, outline, width * self.zoom)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self.draw.polygon(self.scaled(points), fill)

    def text(self, x: float, y: float, text: str, size: int, ink: Colour, font: int = 0, anchor: str = "la") -> None:
        """Text of `size` pixels in one of the sheet's fonts."""
        path = str(self.fonts[font % len(self.fonts)])
        typeface = ImageFont.truetype(path, size * self.zoom, layout_engine=ImageFont.Layout.BASIC)
        self.draw.text(self.scaled([(x, y)])[0], text, ink, typeface, anchor)

    def word(self) -> str:
        """Letters that look like a word, a number, or a name."""
        kind = self.random.random()
        if kind < 0.15:
            return f"{self.random.uniform(-1, 1) * 10 ** self.random.randint(0, 4):.{self.random.randint(0, 3)}f}"
        word = "".join(self.random.choice(LETTERS) for _ in range(self.random.randint(1, 10)))
        if kind < 0.35:
            word = word.upper() if kind < 0.22 else word.capitalize()
        return word + self.random.choice(",.;:!?)'\"-" if kind > 0.85 else ("",))

    def words(self, length: int) -> str:
        """At least `length` characters."""
        text = self.word()
        while len(text) < length:
            text += f" {self.word()}"
        return text


def text(sheet: Sheet) -> None:
    """Paragraphs in changing fonts and sizes, cut off at the edge."""
    y = sheet.random.uniform(-4, 8)
    while y < sheet.height:
        size, font, ink = sheet.random.randint(8, 26), sheet.random.randrange(3), sheet.ink()
        x = sheet.random.uniform(0, 20)
        for _ in range(sheet.random.randint(1, 6)):
            sheet.text(x, y, sheet.words(sheet.width // size * 2), size, ink, font)
            y += size * 1.3
        y += sheet.random.uniform(0, size)


def headlines(sheet: Sheet) -> None:
    """Few words in large letters, some on a bar of their own colour."""
    y = 0.0
    while y < sheet.height:
        size, ink = sheet.random.randint(28, 110), sheet.ink()
        if sheet.random.random() < 0.3:
            sheet.box(0, y, sheet.width, size * 1.2, ink, ink)
            ink = sheet.paper
        sheet.text(sheet.random.uniform(-size, size), y, sheet.words(12), size, ink, sheet.random.randrange(3))
        y += size * sheet.random.uniform(1.2, 1.5)


def table(sheet: Sheet) -> None:
    """Ruled rows and columns of words and numbers."""
    size, ink, rule = sheet.random.randint(9, 16), sheet.ink(), sheet.ink()
    row, column = round(size * 1.7), sheet.random.randint(50, 110)
    shade = sheet.colour() if sheet.random.random() < 0.3 else sheet.paper
    sheet.box(0, 0, sheet.width, row, shade, rule)
    for y in range(0, sheet.height, row):
        sheet.line([(0, y), (sheet.width, y)], rule)
        for x in range(0, sheet.width, column):
            sheet.text(x + 4, y + size * 0.3, sheet.word(), size, ink, int(y > 0))
    for x in range(0, sheet.width, column):
        sheet.line([(x, 0), (x, sheet.height)], rule)


def lines(sheet: Sheet) -> None:
    """Line art: curves, hatching, circles and bundles of straight lines."""
    for _ in range(sheet.random.randint(8, 24)):
        width, ink, (x, y) = sheet.random.choice((1, 1, 1, 2, 3, 5)), sheet.ink(), sheet.place()
        kind, reach = sheet.random.randrange(4), sheet.random.uniform(20, 160)
        if kind == 0:
            turns, phase = sheet.random.uniform(0.5, 4), sheet.random.uniform(0, 7)
            steps = [step / 60 for step in range(61)]
            wave = [(x + reach * (2 * t - 1), y + reach / 3 * math.sin(7 * turns * t + phase)) for t in steps]
            sheet.line(wave, ink, width)
        elif kind == 1:
            gap, angle = sheet.random.uniform(3, 12), sheet.random.uniform(0, math.pi)
            dx, dy = math.cos(angle), math.sin(angle)
            for step in np.arange(-reach / 2, reach / 2, gap):
                middle = (x - dy * step, y + dx * step)
                ends = [(middle[0] + sign * dx * reach / 2, middle[1] + sign * dy * reach / 2) for sign in (-1, 1)]
                sheet.line(ends, ink, width)
        elif kind == 2:
            for radius in range(round(reach / 4), round(reach / 2), sheet.random.randint(4, 30)):
                sheet.disc(x, y, radius, None, ink, width)
        else:
            for _ in range(sheet.random.randint(2, 9)):
                sheet.line([(x, y), sheet.place()], ink, width)


def plot(sheet: Sheet) -> None:
    """Axes with ticks and numbers, curves, bars or points, and a legend."""
    left, top, right, bottom = 36, 24, sheet.width - 12, sheet.height - 28
    size, axis = sheet.random.randint(8, 13), sheet.inks[0]
    sheet.text((left + right) / 2, 4, sheet.words(14), size + 3, axis, 0, "ma")
    for step in range(sheet.random.randint(4, 8)):
        x, y = left + step * (right - left) / 7, bottom - step * (bottom - top) / 7
        if sheet.random.random() < 0.5:
            sheet.line([(left, y), (right, y)], sheet.inks[-1])
        sheet.line([(x, bottom), (x, bottom + 4)], axis)
        sheet.line([(left - 4, y), (left, y)], axis)
        sheet.text(x, bottom + 6, f"{step * 2}", size, axis, 0, "ma")
        sheet.text(left - 6, y, f"{step / 5:.1f}", size, axis, 0, "rm")
    for series in range(sheet.random.randint(1, 4)):
        ink, kind, value = sheet.ink(), sheet.random.randrange(3), sheet.random.uniform(0.2, 0.8)
        points = []
        for step in range(25):
            value = min(1.0, max(0.0, value + sheet.random.gauss(0, 0.08)))
            points.append((left + step * (right - left) / 24, bottom - value * (bottom - top)))
        if kind == 0:
            sheet.line(points, ink, sheet.random.choice((1, 1.5, 2)))
        for x, y in points if kind else ():
            if kind == 1:
                sheet.disc(x, y, sheet.random.choice((1.5, 2.5, 4)), ink, ink)
            else:
                sheet.box(x, y, (right - left) / 60, bottom - y, ink, axis)
        sheet.box(right - 90, top + 4 + series * 16, 10, 10, ink, axis)
        sheet.text(right - 74, top + 3 + series * 16, sheet.word(), size, axis)
    sheet.box(left, top, right - left, bottom - top, None, axis)


def diagram(sheet: Sheet) -> None:
    """Labelled boxes and circles, joined by arrows."""
    places = [sheet.place(margin=30) for _ in range(sheet.random.randint(5, 12))]
    for (x, y), (u, v) in pairwise(places):
        ink, length = sheet.inks[0], math.hypot(u - x, v - y) or 1
        dx, dy = (u - x) / length, (v - y) / length
        tip = ((x + u) / 2, (y + v) / 2)
        sheet.line([(x, y), (u, v)], ink, sheet.random.choice((1, 1, 2)))
        feet = [(tip[0] - 9 * dx + side * 4 * dy, tip[1] - 9 * dy - side * 4 * dx) for side in (-1, 1)]
        sheet.polygon([tip, *feet], ink)
    for x, y in places:
        size, ink, label = sheet.random.randint(9, 18), sheet.ink(), sheet.word()
        fill, width = sheet.random.choice((sheet.paper, ink)), len(label) * size * 0.4 + 8
        if sheet.random.random() < 0.6:
            sheet.box(x - width, y - size, 2 * width, 2 * size, fill, ink)
        else:
            sheet.disc(x, y, width, fill, ink)
        sheet.text(x, y, label, size, ink if fill == sheet.paper else sheet.paper, 0, "mm")


def screen(sheet: Sheet) -> None:
    """Overlapping windows with title bars, text, buttons, check boxes and icons."""
    for _ in range(sheet.random.randint(2, 4)):
        (x, y), size = sheet.place(), sheet.random.randint(9, 14)
        x, y = x * 0.6 - 20, y * 0.6 - 20
        width, height = sheet.random.randint(150, 360), sheet.random.randint(120, 300)
        ink, bar = sheet.inks[0], sheet.ink()
        sheet.box(x, y, width, height, sheet.paper, ink)
        sheet.box(x, y, width, size * 1.8, bar, ink)
        sheet.text(x + 6, y + size * 0.3, sheet.words(10), size, sheet.paper)
        for row in range(int(height / size / 2) - 2):
            top = y + size * (2.4 + 2 * row)
            icon = [sheet.box, sheet.disc][row % 2]
            icon(x + 10, top + size / 2, *((size / 2,) if row % 2 else (size, size * 0.6)), sheet.ink(), ink)
            sheet.text(x + 16 + size, top, sheet.words(8), size, ink)
        for button in range(2):
            left, top = x + width - 66 * (button + 1), y + height - size * 2.2
            sheet.box(left, top, 60, size * 1.8, sheet.ink() if button else sheet.paper, ink)
            sheet.text(left + 30, top + size * 0.9, sheet.word()[:7], size, sheet.paper if button else ink, 1, "mm")


def pixel_art(sheet: Sheet) -> None:
    """Mirrored sprites of few colours, every dot a square of 2 to 8 pixels."""
    dot, side = sheet.random.randint(2, 8), sheet.random.choice((8, 12, 16))
    shape = (-(-sheet.height // dot), -(-sheet.width // dot), 3)
    dots = np.full(shape, sheet.paper, np.uint8)
    for y in range(0, shape[0] - side, side + 1):
        for x in range(0, shape[1] - side, side + 1):
            colours = [sheet.paper, sheet.ink(), sheet.ink(), sheet.colour()]
            half = np.zeros((side, side // 2, 3), np.uint8)
            for row, column in np.ndindex(side, side // 2):  # most dots are as the one above or beside them
                neighbours = [half[max(0, row - 1), column], half[row, max(0, column - 1)]]
                other = sheet.random.random() < 0.3 or row == column == 0
                half[row, column] = sheet.random.choice(colours if other else neighbours)
            dots[y : y + side, x : x + side] = np.concatenate([half, half[:, ::-1]], axis=1)
    pixels = dots.repeat(dot, axis=0).repeat(dot, axis=1)[: sheet.height, : sheet.width]
    sheet.zoom, sheet.picture = 1, Image.fromarray(pixels)


def flat(sheet: Sheet) -> None:
    """Areas of one colour each: polygons, discs, boxes and stars."""
    for _ in range(sheet.random.randint(6, 20)):
        (x, y), reach, ink = sheet.place(), sheet.random.uniform(10, 130), sheet.colour()
        kind = sheet.random.randrange(3)
        if kind == 0:
            sheet.disc(x, y, reach, ink, sheet.ink())
        elif kind == 1:
            sheet.box(x, y, reach, sheet.random.uniform(10, 130), ink, ink)
        else:
            corners, turn = sheet.random.randint(3, 12), sheet.random.uniform(0, 7)
            radii = [reach * (sheet.random.uniform(0.4, 1)) for _ in range(corners)]
            angles = [turn + 2 * math.pi * corner / corners for corner in range(corners)]
            sheet.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)], ink)


def gratings(sheet: Sheet) -> None:
    """Four panels of checkerboards, stripes, rings, spokes or dithered ramps, each in two colours."""
    rows, columns = np.indices((sheet.height, sheet.width))
    pixels = np.zeros((sheet.height, sheet.width, 3), np.uint8)
    middle_y, middle_x = sheet.height // 2, sheet.width // 2
    for top, left in ((0, 0), (0, middle_x), (middle_y, 0), (middle_y, middle_x)):
        period, angle = sheet.random.uniform(3, 24), sheet.random.choice((0, 90, sheet.random.uniform(0, 180)))
        y, x = rows - sheet.height / 4 - top, columns - sheet.width / 4 - left
        along = math.cos(math.radians(angle)) * x + math.sin(math.radians(angle)) * y
        side = round(period)
        bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])[rows % 4, columns % 4]
        pattern = sheet.random.choice(
            (
                (rows // side + columns // side) % 2,
                np.sin(2 * np.pi * along / period) > 0,
                0.5 + 0.5 * np.sin(2 * np.pi * along / period),
                np.sin(2 * np.pi * np.hypot(y, x) / period) > 0,
                np.sin(side * np.arctan2(y, x)) > 0,
                (columns - left) / sheet.width * 2 > bayer / 16,
            )
        )[..., None]
        panel = (pattern * np.array(sheet.ink()) + (1 - pattern * 1.0) * np.array(sheet.paper)).round()
        pixels[top:, left:] = panel[top:, left:]
    sheet.zoom, sheet.picture = 1, Image.fromarray(pixels)


DRAWINGS = (text, headlines, table, lines, plot, diagram, screen, pixel_art, flat, gratings)
