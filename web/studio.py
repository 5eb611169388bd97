"""What requests ask for, computed: pictures of sessions, their encodings, tiles, warps and scores, in one budget."""

import io
import itertools
import math
import secrets
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from threading import Lock, RLock
from typing import Any

import numpy as np
import torch

from models.safeguards import pixel_size
from models.upscaler import Upscaler
from painting.layers import paint_part, pixels_for
from pictures.formats import format_of
from pictures.picture import Picture
from pictures.png import quick_png
from pictures.similarity import psnr, ssim
from pictures.tensors import Layers, to_pixels, to_tensor
from pictures.writing import encode as write
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.homographies import Homography
from utils.system import memory_errors
from web.budget import Budget, Key
from web.drawing import (
    Encoding,
    Offered,
    drawing_upscaler,
    needed_to_encode,
    with_kept_fields,
)
from web.settings import Refused, Settings, missing
from web.uploads import Upload, colours_of

TILE = 256
LARGER_TILES = (5, 2.0), (3, 1.5)  # from a level on, in TILE; a request there would cost a third of what it paints
PNG = format_of("x.png")
LARGEST_LEVEL, SMALLEST_LEVEL = 6, -8  # scales 64 and 1/256, as powers of 2
MOST_SESSIONS, MOST_PICTURES = 256, 32  # and pictures of a session
LARGEST_WINDOW = 4096 * 4096  # pixels of one answer
WHOLE_SHARE, FILTER_SHARE = 0.5, 0.05  # of the budget, that encoding a picture whole may take, and holding it
LARGEST_PART = 1 << 21  # LR pixels that are looked at together for a window
BAND = 1 << 20  # output pixels that are drawn at a time
REFERENCE = "reference"


@dataclass
class Session:
    """Which pictures, and which exports, are one visitor's; `names` of files, and how often each was given."""

    pictures: OrderedDict[str, None] = field(default_factory=OrderedDict)
    exports: OrderedDict[str, Any] = field(default_factory=OrderedDict)
    names: Counter[str] = field(default_factory=Counter)


def tile_side(level: int) -> int:
    """Pixels of a side of a level's tiles, the last of a row or column apart; as panes.js has it."""
    return int(TILE * next((factor for first, factor in LARGER_TILES if level >= first), 1))


def level_size(size: Size, level: int) -> Size:
    """(H, W) of an (h, w) picture at the scale 2^level, rounded up, as the viewer has it."""
    height, width = (n << level if level >= 0 else -(-n >> -level) for n in size)
    return height, width


class Studio:
    """All state of the server; its methods may be called by any threads. Pictures are encoded one at a time, for that
    takes much memory."""

    def __init__(self, settings: Settings):
        self.settings, self.models = settings, Offered(settings.backend)
        self.budget = Budget(settings.memory)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock, self._encoding = RLock(), Lock()
        self._threads, self._references = torch.get_num_threads(), itertools.count(1)

    # Sessions and pictures

    def session(self, name: str | None) -> Session | None:
        """The session of a name, if there is one."""
        with self._lock:
            if name not in self._sessions:
                return None
            self._sessions.move_to_end(name)
            return self._sessions[name]

    def begin(self) -> tuple[str, Session]:
        """A new session and its name; the one that was used least recently ends when there are very many."""
        name, session = secrets.token_urlsafe(24), Session()
        with self._lock:
            self._sessions[name] = session
            while len(self._sessions) > MOST_SESSIONS:
                _, left = self._sessions.popitem(last=False)
                for picture in left.pictures:
                    self.budget.drop((picture,))
                for export in left.exports.values():
                    export.cancel()
        return name, session

    def end(self) -> None:
        """Cancel all that is being made."""
        for session in self._sessions.values():
            for export in session.exports.values():
                export.cancel()

    def add(self, session: Session, upload: Upload) -> str:
        """Keep a picture of a session; its name. The oldest of very many is closed."""
        name = secrets.token_urlsafe(12)
        self.budget.keep((name, "upload"), upload)
        with self._lock:
            session.pictures[name] = None
            while len(session.pictures) > MOST_PICTURES:
                self.close(session, next(iter(session.pictures)))
        return name

    def close(self, session: Session, name: str) -> None:
        """Forget a picture and all that was made of it."""
        self.upload(session, name)
        with self._lock:
            session.pictures.pop(name, None)
        self.budget.drop((name,))

    def upload(self, session: Session, name: str) -> Upload:
        """A session's picture; Refused (404) for another's, and for one that was dropped to free memory."""
        upload = self.budget.get((name, "upload")) if name in session.pictures else None
        if upload is None:
            raise missing("picture")
        return upload

    def set_reference(self, session: Session, name: str, reference: Upload) -> None:
        """Compare a picture with another of itself; both have the same shape, about."""
        upload = self.upload(session, name)
        (h, w), (height, width) = upload.picture.size, reference.picture.size
        if abs(height * w - width * h) > max(height, width, h, w):
            raise Refused(
                f"{reference.name} is {width}x{height}, {upload.name} {w}x{h}: a reference has the same proportions",
                422,
            )
        for part in ("drawn", "tile", REFERENCE):
            self.budget.drop((name, part))
        # What is being made of the one before is kept by its turn, so that nobody takes it for the new one's
        chosen = replace(upload, reference=Picture(colours_of(reference.picture), "RGB"), turn=next(self._references))
        self.budget.keep((name, "upload"), chosen)

    # Encodings and windows

    def draw(self, name: str, upload: Upload, model: str, grid: OutputGrid) -> Layers:
        """The picture on a grid by a model, or its reference by a filter; transparent outside of a warp."""
        if model == REFERENCE and upload.reference is None:
            raise missing("reference picture")
        picture = upload.reference if model == REFERENCE else upload.picture
        given = self.models.upscaler("bicubic" if model == REFERENCE else model)
        given, size = given.of_depth(picture.pixel_format.depth), picture.size
        upscaler = drawing_upscaler(given, grid, size)
        parted = isinstance(grid, Grid) and not self._fits(upscaler, size)
        if parted and (pixels := pixels_for(upscaler, grid, size)):
            rows = max(1, grid.size[0] * LARGEST_PART // (pixels.height * pixels.width))
            return Layers.joined(
                [self._draw_part(upscaler, picture, part) for _, part in grid.row_chunks(rows * grid.size[1])], dim=1
            )
        used = model if upscaler is given else "reduced"
        key = (name, REFERENCE, upload.turn, used) if model == REFERENCE else (name, "encoding", used)
        encoding = self._encoding_of(key, upscaler, picture)
        if upscaler.model.encodes:
            upscaler = with_kept_fields(upscaler, self.budget, (name, model), self._threads)
        return encoding.draw(upscaler, grid)

    def _draw_part(self, upscaler: Upscaler, picture: Picture, grid: Grid) -> Layers:
        pixels = pixels_for(upscaler, grid, picture.size)
        with self.budget.working(needed_to_encode(upscaler, (pixels.height, pixels.width))):
            return paint_part(upscaler, picture, grid, pixels)

    def encode(self, name: str, upload: Upload, model: str) -> None:
        """Encode a picture before its tiles are asked for, where it is encoded whole."""
        upscaler = self.models.upscaler(model).of_depth(upload.picture.pixel_format.depth)
        if self._fits(upscaler, upload.picture.size):
            self._encoding_of((name, "encoding", model), upscaler, upload.picture)

    def _fits(self, upscaler: Upscaler, size: Size) -> bool:
        """Whether an (h, w) picture is encoded whole, once: filters have nothing to gain by it."""
        share = WHOLE_SHARE if upscaler.model.encodes else FILTER_SHARE
        return needed_to_encode(upscaler, size) <= share * self.budget.limit

    def _encoding_of(self, key: Key, upscaler: Upscaler, picture: Picture) -> Encoding:
        def encode() -> Encoding:
            needed = needed_to_encode(upscaler, picture.size)
            with self._encoding, self.budget.working(needed), memory_errors("encoding this picture"):
                return Encoding.of(upscaler, Layers.of(picture))

        return self.budget.kept(key, encode)

    def tile(
        self, name: str, upload: Upload, models: tuple[str, ...], level: int, column: int, row: int, small: bool
    ) -> bytes:
        """A tile as PNG, a `small` file or one that is made quickly; of two models, their difference."""
        full = level_size(upload.picture.pixels.shape[:2], level)
        side = tile_side(level)
        top, left = row * side, column * side
        if not (SMALLEST_LEVEL <= level <= LARGEST_LEVEL and 0 <= top < full[0] and 0 <= left < full[1]):
            raise Refused(f"no tile {column}, {row} at level {level}", 404)
        size = (min(side, full[0] - top), min(side, full[1] - left))

        window = Grid.of_size(full).window(top, left, size)

        def made() -> bytes:
            drawn = [self.draw(name, upload, model, window) for model in models]
            return quick_png(difference(*drawn) if len(drawn) == 2 else shown(drawn[0]), small)

        return self.budget.kept((name, "tile", upload.turn, models, level, column, row, small), made, 0.01)

    def warp(self, name: str, upload: Upload, model: str, homography: Homography, size: Size) -> bytes:
        """The warped picture as PNG, transparent outside."""
        if min(size) < 1 or size[0] * size[1] > LARGEST_WINDOW:
            raise Refused(f"a warped view of {size[1]}x{size[0]} is too large or empty", 413)
        given = upload.picture.size
        level = self._reducing_level(homography, given, size) if model != "nearest" else 0
        with self.budget.working(size[0] * size[1] * 48):
            if level == 0:
                return quick_png(shown(self.draw(name, upload, model, homography.grid(given, size))))
            small = level_size(given, level)
            upscaler = drawing_upscaler(self.models.upscaler(model), Grid.of_size(small), given)
            key = (name, "warped", level, model if upscaler.model.reduces else "reduced")
            encoding = self.budget.kept(key, lambda: Encoding.of(upscaler, self._whole(name, upload, model, small)))
            grid = reduced_first(homography, given, small).grid(small, size)
            return quick_png(shown(encoding.draw(upscaler, grid)))

    def _whole(self, name: str, upload: Upload, model: str, size: Size) -> Layers:
        grid = Grid.of_size(size)
        chunks = grid.row_chunks(BAND)
        return Layers.joined([self.draw(name, upload, model, chunk) for _, chunk in chunks], dim=1)

    def _reducing_level(self, homography: Homography, given: Size, size: Size) -> int:
        """The level at which a warp of a large picture reads it: its pixels are at most half as large as the smallest
        output pixel. Read at its own size, each output pixel would be a mean of very many."""
        if given[0] * given[1] < LARGEST_PART:
            return 0
        proxy = level_size(given, -5)
        smallest = pixel_size(reduced_first(homography, given, proxy).grid(proxy, size), proxy).min().item()
        return min(0, 1 - int(math.log2(max(1.0, smallest * given[0] / proxy[0]))))

    def input(self, upload: Upload) -> bytes:
        """The picture as it was read, as PNG."""
        stream = io.BytesIO()
        kind, _ = PNG.pixel_format_for(upload.picture.pixel_format)
        picture = Picture(Layers.of(upload.picture).pixels(kind.depth, kind.channels), kind.channels)
        write(stream, upload.name, PNG, picture)
        return stream.getvalue()

    # Comparison

    def scores(self, name: str, upload: Upload, model: str, part: tuple[float, float, float, float]) -> dict:
        """PSNR and SSIM against the reference, of the whole and of the part (left, top, right, bottom) in [0, 1]."""
        if upload.reference is None:
            raise missing("reference picture")
        height, width = upload.reference.size
        target = upload.reference.pixels
        drawn = self.budget.kept(
            (name, "drawn", upload.turn, model), lambda: self._drawn(name, upload, model, (height, width)), 0.25
        )
        whole = self.budget.kept((name, "drawn", upload.turn, model, "scores"), lambda: _measured(drawn, target))
        left, right = sorted(min(max(x, 0), 1) * width for x in part[::2])
        top, bottom = sorted(min(max(y, 0), 1) * height for y in part[1::2])
        rows = slice(int(top), max(int(top) + 1, round(bottom)))
        columns = slice(int(left), max(int(left) + 1, round(right)))
        seen = drawn[rows, columns]
        window = whole if seen.shape == drawn.shape else _measured(seen, target[rows, columns])
        return {"whole": whole, "window": window, "pixels": seen.shape[1::-1], "protocol": "RGB, 8 bits"}

    def _drawn(self, name: str, upload: Upload, model: str, size: Size) -> np.ndarray:
        with self.budget.working(size[0] * size[1] * 36):
            return self._whole(name, upload, model, size).rgb()


def reduced_first(homography: Homography, given: Size, small: Size) -> Homography:
    """The same map of a picture that was reduced from the `given` size to the `small` one."""
    back = Homography.scaling(tuple(n / m for n, m in zip(given, small, strict=True)))
    return Homography(homography.matrix @ back.matrix)


def shown(layers: Layers) -> np.ndarray:
    """(H, W, C) uint8 grey or RGB, with alpha where there is."""
    channels = {1: "L", 3: "RGB"}[len(layers.colour)] + ("" if layers.alpha is None else "A")
    return layers.pixels(8, channels)


def difference(first: Layers, second: Layers, gain: float = 8.0) -> np.ndarray:
    """(H, W, 3) uint8: how far two pictures are apart in each channel, `gain` times, in front of white."""
    a, b = (to_tensor(layers.rgb()) for layers in (first, second))
    return to_pixels((a - b).abs() * gain)


def _measured(picture: np.ndarray, target: np.ndarray) -> dict[str, float | None]:
    """Scores of two (H, W, 3) uint8 pictures: None where they are no numbers, or infinite."""
    pair = to_tensor(picture), to_tensor(target)
    scores = {"psnr": psnr(*pair), "ssim": ssim(*pair)}
    return {key: value if np.isfinite(value) else None for key, value in scores.items()}
