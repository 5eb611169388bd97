"""Cancellable downloads at full resolution, painted in bands between more urgent work."""

import io
import logging
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from models.zoo import DEFAULT
from painting.jobs import Job
from painting.layers import whole_grid
from painting.plan import needed_memory, plan, window_of
from painting.request import Request
from pictures.formats import format_of
from pictures.picture import Picture, PixelFormat
from pictures.writing import encode
from utils.errors import InputError, one_line
from utils.geometry.grids import Size
from utils.geometry.matrices import matrix_of
from utils.geometry.sizes import check_output_size
from utils.system import check_memory, is_memory_error
from web.settings import Refused, missing
from web.studio import Session, Studio
from web.uploads import Upload
from web.worker import EXPORT, Worker

ENDINGS = (".png", ".jpg", ".webp", ".tif")
BAND = 1 << 19  # output pixels painted at a time
MOST_RUNNING = 4  # exports of a session at a time
MOST_KEPT = 16  # and results
RUNNING = ("waiting", "painting")


@dataclass(frozen=True)
class Order:
    """What is asked for of a picture, to be written with this `ending` (`.png`)."""

    picture: str
    request: Request
    ending: str

    @classmethod
    def of(cls, picture: str, asked: Mapping[str, Any]) -> "Order":
        """From JSON: `width` and `height` of the whole output, its `window` [left, top, width, height] to write, the
        nine numbers of a `matrix`, `ending` and `model`. Refused (422) for anything else."""
        size, ending = (asked.get("height"), asked.get("width")), asked.get("ending")
        window, matrix = asked.get("window"), asked.get("matrix")
        if not all(type(value) is int and value >= 1 for value in size):
            raise Refused("width and height are whole numbers from 1", 422)
        if window is not None and not (
            isinstance(window, list) and len(window) == 4 and all(type(value) is int for value in window)
        ):
            raise Refused("window is [left, top, width, height], whole numbers", 422)
        if ending not in ENDINGS:
            raise Refused(f"ending is one of {', '.join(ENDINGS)}", 422)
        request = Request(
            size=size,
            crop=window and tuple(window),
            homography=None if matrix is None else matrix_of(str(matrix), reads_files=False),
            background=None if matrix is None or format_of(f"x{ending}").has_alpha else "white",
            model=str(asked.get("model", DEFAULT)),
        )
        window_of(request, check_output_size(size))
        return cls(picture, request, ending)

    @property
    def size(self) -> Size:
        """(H, W) of what is written."""
        return self.request.crop[:1:-1] if self.request.crop else self.request.size

    def file_name(self, upload: Upload) -> str:
        stem = upload.name.rpartition(".")[0] or upload.name
        return f"{stem}_{self.size[1]}x{self.size[0]}{self.ending}"

    def command(self, upload: Upload, file: str) -> str:
        """The call of demo.py that writes the same `file`."""
        request, words = self.request, ["python", "demo.py", "--input", upload.path or upload.name]
        if request.homography:
            words += ["--homography", ",".join(repr(value) for row in request.homography for value in row)]
        words += ["--size", f"{request.size[1]}x{request.size[0]}"]
        if request.crop:
            words += ["--crop", ",".join(map(str, request.crop))]
        if request.background:
            words += ["--background", request.background]
        return shlex.join([*words, "--model", request.model, "--output", file])


class Export:
    """One order on its way to a `file`: `done` of 1, then its `content`, or the `error`."""

    def __init__(self, studio: Studio, worker: Worker, upload: Upload, order: Order):
        self.name, self.file = secrets.token_urlsafe(12), order.file_name(upload)
        self.order, self.upload = order, upload
        self.done, self.state, self.error, self.notes = 0.0, "waiting", "", ()
        self._studio, self._worker, self._lock = studio, worker, Lock()
        job = Job(Path(upload.name), Path(self.file), format_of(f"x{order.ending}"))
        self._plan = plan(order.request, job, upload.picture)
        self._kind = self._plan.pixel_format
        if order.request.is_transparent_warp:
            clear = PixelFormat(f"{self._kind.colours}A", self._kind.depth)
            self._kind, _ = job.form.pixel_format_for(clear)
        self._reserved = needed_memory(order.size, self._kind)  # encoding reserves what it needs by itself
        check_memory(self._reserved, self._plan.work)
        studio.budget.reserve(self._reserved)
        self._pixels: np.ndarray | None = None
        self._next = 0
        worker.submit((EXPORT,), self._step)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "done": self.done,
            "error": self.error,
            "notes": list(self.notes),
            "file": self.file,
            "command": self.order.command(self.upload, self.file),
        }

    def cancel(self) -> None:
        """Stop before the next rows; the memory is free again at once when none are being painted."""
        self._end("cancelled")
        self._studio.budget.drop(("export", self.name))

    def content(self) -> bytes:
        content = self._studio.budget.get(("export", self.name))
        if content is None:
            raise missing("finished export")
        return content

    def _end(self, state: str, error: str = "", content: bytes | None = None) -> None:
        """Give the memory back, once, and keep the file before anyone is told that it is there."""
        with self._lock:
            if self.state not in RUNNING:
                return
            self._pixels = None
            self._studio.budget.release(self._reserved)
            if content is not None:
                try:
                    self._studio.budget.keep(("export", self.name), content)
                    self.done = 1.0
                except Refused as refused:
                    state, error = "failed", str(refused)
            self.state, self.error = state, error

    def _step(self) -> None:
        """Paint the next rows, and queue what follows."""
        with self._lock:
            if self.state not in RUNNING:
                return
            self.state = "painting"
        try:
            height, width = self.order.size
            rows = min(max(1, BAND // width), height - self._next)
            painted = self._paint(self._next, rows)
            with self._lock:
                if self.state not in RUNNING:
                    return
                if self._pixels is None:
                    self._pixels = np.empty((height, width, painted.shape[2]), painted.dtype)
                pixels = self._pixels
            pixels[self._next : self._next + rows] = painted
            self._next += rows
            self.done = 0.98 * self._next / height
            if self._next < height:
                self._worker.submit((EXPORT,), self._step)
                return
            self._end("finished", content=self._written(pixels))
        except InputError as error:
            self._end("failed", one_line(str(error)))
        except Exception as error:
            if is_memory_error(error):
                self._end("failed", "there is not enough memory; choose a smaller picture or size")
                return
            logging.getLogger("uvicorn.error").exception("a download failed")
            self._end("failed", "an internal error; see the server's log")

    def _paint(self, top: int, rows: int) -> np.ndarray:
        first, left, (_, width) = self._plan.window
        whole = whole_grid(self._plan.request, self._plan.picture.size)
        grid = whole.window(first + top, left, (rows, width))
        layers = self._studio.draw(self.order.picture, self.upload, self.order.request.model, grid)
        layers = layers if self._kind.has_alpha else layers.over(self._plan.background)
        return layers.pixels(self._kind.depth, self._kind.channels)

    def _written(self, pixels: np.ndarray) -> bytes:
        self.notes = tuple(self._plan.losses)
        stream = io.BytesIO()
        whole = Picture(pixels, self._kind.channels, self._plan.metadata, self.upload.picture.span)
        encode(stream, self._plan.job.target, self._plan.job.form, whole)
        return stream.getvalue()


def start(studio: Studio, worker: Worker, session: Session, order: Order) -> Export:
    """Begin a download of a session; Refused while it has too many at work."""
    upload = studio.upload(session, order.picture)
    studio.models.check(order.request.model)
    if sum(export.state in RUNNING for export in session.exports.values()) >= MOST_RUNNING:
        raise Refused(f"{MOST_RUNNING} downloads are being made; wait for one, or cancel it", 429)
    export = Export(studio, worker, upload, order)
    session.names[export.file] += 1
    if (number := session.names[export.file]) > 1:  # an earlier download has the name
        path = Path(export.file)
        export.file = f"{path.stem}-{number}{path.suffix}"
    session.exports[export.name] = export
    while len(session.exports) > MOST_KEPT:
        session.exports.popitem(last=False)[1].cancel()
    return export
