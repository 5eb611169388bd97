"""Decoding untrusted uploads: bounded in bytes, in work and in time, in a process of its own. Without PyTorch."""

import asyncio
import io
import multiprocessing
import os
import re
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image
from starlette.requests import Request

from pictures.colour import in_rgb
from pictures.deep import TIFF
from pictures.picture import Picture, levels
from pictures.reading import read_picture
from utils.errors import InputError, one_line
from web.budget import Budget
from web.settings import Refused, Settings

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

# What browsers' users have. Pillow knows more, seldom used parsers, which need not meet strangers' files.
ACCEPTED = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
LONGEST_NAME = 80
SMALLEST_SIDE, LONGEST_SIDE = 2, 1 << 14
IDLE_SECONDS, BODY_SECONDS = 10, 300  # without a byte of a body, and for all of it
ARRIVING_SHARE = 0.25  # of the memory budget, for all bodies that are still arriving
MOST_JSON = 10_000  # bytes of other bodies
DECODING_SECONDS = 20
MOST_DECODERS = 2  # files that are decoded at a time
DECODER_MEMORY = 1 << 30  # bytes of address space beside the memory budget
MOST_SCANS = 100  # of a JPEG, each of which is a pass over the picture
MOST_CHUNKS = 10_000  # of a PNG
MOST_ASIDE = 8 << 20  # bytes of a PNG beside its pixels
MOST_PPM_HEADER = 1 << 16  # bytes, with its comments
PPM_HEADER = re.compile(rb"P(?:[1-6f]|0CMYK|y\w+)(?:(?:\s|#[^\r\n]*[\r\n])+[-\d.]+){2,3}")
_WAYS = multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context("forkserver" if "forkserver" in _WAYS else "spawn")
if "forkserver" in _WAYS:
    PROCESSES.set_forkserver_preload([__name__])  # a decoder is then forked, in some milliseconds


@dataclass(frozen=True)
class Upload:
    """A `picture` in RGB or grey, with alpha or without, and the name of its file; `reference` where it was shrunk or
    one was chosen, for the time that `turn` says. `path`: of the file, where it is the project's own. `is_made`: there
    is no such file."""

    name: str
    picture: Picture
    reference: Picture | None = None
    turn: int = 0
    path: str = ""
    is_made: bool = False


class Bodies:
    """Bodies of requests, which count within the budget from their first byte until they are not needed any more."""

    def __init__(self, budget: Budget):
        self._budget, self._held = budget, 0

    @asynccontextmanager
    async def received(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """A whole body of at most so many bytes. Refused: 413 for a longer one, 408 for one that does not arrive, 503
        where too many arrive at once."""
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._arrive(request, most, parts)
            with self._budget.working(sum(map(len, parts))):  # twice for a moment
                content = b"".join(parts)
            yield content
        except TimeoutError:
            raise Refused("the file did not arrive in time; send it again", 408) from None
        finally:
            held = sum(map(len, parts))
            self._held -= held
            self._budget.release(held)

    async def _arrive(self, request: Request, most: int, parts: list[bytes]) -> None:
        declared, length, stream = request.headers.get("content-length", ""), 0, request.stream()
        while True:
            if max(length, int(declared) if declared.isdecimal() else 0) > most:
                size = f"{most / 2**20:.0f} MiB" if most >= 1 << 20 else f"{most} bytes"
                raise Refused(f"what was sent is larger than {size}; send a smaller file", 413)
            async with asyncio.timeout(IDLE_SECONDS):
                part = await anext(stream, None)
            if part is None:
                return
            if self._held + len(part) > ARRIVING_SHARE * self._budget.limit:
                raise Refused("too many files arrive at once; try again in some seconds", 503)
            self._budget.reserve(len(part))
            self._held += len(part)
            length += len(part)
            parts.append(part)


def safe_name(name: str) -> str:
    """What of a file's name is kept: no folder, letters, digits and `._- ` only."""
    name = PurePosixPath(PureWindowsPath(name).name).name
    name = re.sub(r"[^\w.\- ]", "_", name).strip(" .").lstrip("-")
    stem, dot, ending = name.rpartition(".")
    return (f"{stem[: LONGEST_NAME - 8]}{dot}{ending[:8]}" if dot else name[:LONGEST_NAME]) or "picture"


def decode_apart(content: bytes, name: str, settings: Settings, shrink: int = 1) -> Upload:
    """`open_upload` in a process that is ended after DECODING_SECONDS (Refused, 422), whatever a file makes it do."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    most = settings.memory + DECODER_MEMORY
    process = PROCESSES.Process(target=_decode, args=(sender, most, content, name, settings, shrink), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(DECODING_SECONDS):
            raise Refused(f"{safe_name(name)} takes longer than {DECODING_SECONDS} s to decode; convert it to PNG", 422)
        answer = receiver.recv()
    except EOFError:
        raise Refused(f"{safe_name(name)} ended its decoder; convert it to PNG", 422) from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if isinstance(answer, Exception):
        raise answer
    return answer


def bound(most: int) -> None:
    """Let this process stand behind the one that draws tiles, and take at most so many bytes of address space."""
    if hasattr(os, "nice"):
        os.nice(10)
    if resource is not None:
        with suppress(ValueError):  # beyond what the process itself may take
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _decode(sender: Connection, most: int, content: bytes, name: str, settings: Settings, shrink: int) -> None:
    bound(most)
    try:
        sender.send(open_upload(content, name, settings, shrink))
    except MemoryError:
        sender.send(Refused(f"{safe_name(name)} takes more memory than there is; send a smaller picture", 507))
    except Exception as error:
        sender.send(error)


def open_upload(content: bytes, name: str, settings: Settings, shrink: int = 1) -> Upload:
    """Decode a file, all or nothing; with `shrink`, as its own reduction with the whole as `reference`.

    The header is looked at before any pixel is decoded. Refused (413, 415 or 422) for what is no picture, damaged, too
    large, or made of so many parts that decoding takes long.
    """
    name = safe_name(name)
    if not content:
        raise Refused(f"{name} is empty; choose a picture", 422)
    _check_work(content, name)
    _check_header(content, name, settings.pixels)
    try:
        picture = read_picture(content)
    except InputError as error:
        raise Refused(one_line(f"{name}: {str(error).removeprefix('- ')}"), 422) from None
    if min(picture.size) < SMALLEST_SIDE:
        raise Refused(f"{name}: a side of 1 pixel is too small; send a picture of at least 2x2", 422)
    if picture.channels == "CMYK":
        picture = replace(in_rgb(picture), losses=(*picture.losses, "CMYK converted to RGB"))
    return Upload(name, picture) if shrink == 1 else shrunk(name, picture, shrink)


def shrunk(name: str, picture: Picture, shrink: int) -> Upload:
    """A picture reduced by `shrink`, by antialiased bicubic as for training, and itself, cut to a multiple of that, as
    its reference: both 8-bit RGB."""
    if min(picture.size) < 16 * shrink:
        raise Refused(f"{name} is too small to be shrunk by {shrink}: less than 16 pixels would remain of a side", 422)
    height, width = (n // shrink * shrink for n in picture.size)
    colours = np.ascontiguousarray(colours_of(picture)[:height, :width])
    small = Image.fromarray(colours).resize((width // shrink, height // shrink), Image.Resampling.BICUBIC)
    stem = name.rpartition(".")[0] or name
    return Upload(f"{stem}_x1-{shrink}.png", Picture(np.array(small), "RGB"), Picture(colours, "RGB"), is_made=True)


def colours_of(picture: Picture) -> np.ndarray:
    """(h, w, 3) uint8 RGB without transparency: what is measured."""
    pixels = levels(picture.pixels, 8)
    return pixels[:, :, :1].repeat(3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[:, :, :3])


def _check_work(content: bytes, name: str) -> None:
    """Refused for files of few pixels and many parts, each of which takes time."""
    if content.startswith(b"\xff\xd8"):
        if _scans(content) > MOST_SCANS:
            raise Refused(f"{name} has more than {MOST_SCANS} scans; save it as another JPEG, or as PNG", 422)
    elif content.startswith(b"\x89PNG\r\n\x1a\n"):
        chunks, aside = _chunks(content)
        if chunks > MOST_CHUNKS or aside > MOST_ASIDE:
            raise Refused(
                f"{name} has {chunks} chunks, and {aside / 2**20:.1f} MiB beside its pixels; save it without metadata",
                422,
            )
    elif content[:1] == b"P" and content[1:2] in b"0123456fy" and not PPM_HEADER.match(content[:MOST_PPM_HEADER]):
        raise Refused(f"{name} does not have a PPM header in its first {MOST_PPM_HEADER} bytes; save it as PNG", 415)


def _scans(content: bytes) -> int:
    """How often a JPEG passes over its pixels."""
    scans, place, marker = 0, 2, re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
    while found := marker.search(content, place):
        if found[1] == b"\xd9":  # end of the picture
            break
        scans += found[1] == b"\xda"
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    return scans


def _chunks(content: bytes) -> tuple[int, int]:
    """How many chunks a PNG has, and the bytes of those that hold no pixels."""
    count, aside, place = 0, 0, 8
    while place + 8 <= len(content) and count <= MOST_CHUNKS:
        length = int.from_bytes(content[place : place + 4], "big")
        aside += 0 if content[place + 4 : place + 8] in (b"IDAT", b"fdAT") else length
        count, place = count + 1, place + length + 12
        if content[place - length - 8 : place - length - 4] == b"IEND":
            break
    return count, aside


def _check_header(content: bytes, name: str, most_pixels: int) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=ACCEPTED) as file:
                width, height = file.size
    except Image.DecompressionBombError:
        raise Refused(f"{name} has more than {most_pixels / 1e6:g} megapixels; send a smaller picture", 413) from None
    except Exception:  # Pillow's parsers raise anything at all
        known = "a TIFF" if content.startswith(TIFF) else "a picture"
        raise Refused(
            f"{name} is not {known} that can be read here; send PNG, JPEG, WebP, TIFF, BMP, GIF, PPM or JPEG 2000", 415
        ) from None
    if width * height > most_pixels or max(width, height) > LONGEST_SIDE:
        raise Refused(
            f"{name} has {width}x{height} pixels; at most {most_pixels / 1e6:g} megapixels and sides of {LONGEST_SIDE} "
            "are taken (--max-megapixels): send a smaller picture",
            413,
        )
