"""Paper, inks and strokes of drawn pictures."""

import random
from collections.abc import Sequence
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
