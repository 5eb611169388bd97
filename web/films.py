"""Films of visitors: each is made in a process of its own, ended at a deadline or when nobody asks for it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from time import monotonic
from typing import Any

from painting.jobs import READ, find_film
from painting.request import add_options, request_of
from utils import cli
from utils.errors import InputError, one_line
from utils.files import PROJECT
from utils.geometry.sizes import Scale, scale_text
from utils.progress import Advance, told_to
from utils.system import is_memory_error
from web.settings import Refused, missing
from web.uploads import PROCESSES, bound, safe_name

FILM_SECONDS = 1800  # in which a film has to be made
FILM_IDLE = 30  # seconds in which nobody asks for a film, after which it makes room for another
MOST_FILMS = 1  # that are made at a time
FILM_MEMORY = 6 << 30  # bytes of address space beside the memory budget, most of it PyTorch's libraries


class Film:
    """A film on its way to a `file` beside it in a temporary folder, told and ended as an `Export`."""

    def __init__(self, content: bytes, name: str, model: str, scale: Scale, memory: int):
        source = Path(safe_name(name))
        if source.suffix.lower() not in READ:
            raise Refused(f"{source} is not a film that can be read here; send {', '.join(sorted(READ))}", 415)
        self.name, self.file = secrets.token_urlsafe(12), f"{source.stem}_x{scale_text(scale)}.mp4"
        self.error, self._done = "", 0.0
        self._answer: str | None = None
        self._folder = TemporaryDirectory(prefix="continua-film-", ignore_cleanup_errors=True)
        self._options = ["--scale", scale_text(scale), "--model", model, "--output"]
        given = Path(self._folder.name, f"in{source.suffix.lower()}")
        given.write_bytes(content)
        self._target = Path(self._folder.name, self.file)
        arguments = ["--input", str(given), *self._options, str(self._target)]
        self._receiver, sender = PROCESSES.Pipe(duplex=False)
        self._process = PROCESSES.Process(target=make, args=(sender, memory + FILM_MEMORY, arguments), daemon=True)
        self._process.start()
        sender.close()
        self.asked = monotonic()
        self._deadline = Timer(FILM_SECONDS, self._end, [f"this takes longer than {FILM_SECONDS // 60} minutes"])
        self._deadline.daemon = True
        self._deadline.start()

    @property
    def state(self) -> str:
        """`painting`, `finished`, `cancelled` or `failed`."""
        if not self.error:
            self._read()
            if self._answer is None:
                return "painting"
            if not self._answer:
                self._deadline.cancel()
                return "finished"
            self._end(self._answer.replace(self._folder.name + os.sep, ""))
        return "cancelled" if self.error == "cancelled" else "failed"

    def describe(self) -> dict[str, Any]:
        state, self.asked = self.state, monotonic()
        return {
            "name": self.name,
            "state": state,
            "done": self._done,
            "error": self.error,
            "notes": [],
            "file": self.file,
            "command": " ".join(["python demo.py --input FILM", *self._options, self.file]),
        }

    def content(self) -> bytes:
        if self.state != "finished":
            raise missing("finished film")
        return self._target.read_bytes()

    def cancel(self) -> None:
        self._end("cancelled")

    def _read(self) -> None:
        """What the process has sent meanwhile; it waits while nobody asks."""
        try:
            while self._answer is None and self._receiver.poll():
                match self._receiver.recv():
                    case float() as done:
                        self._done = done
                    case answer:
                        self._answer = answer
        except (EOFError, OSError):
            self._answer = "this film cannot be made; the server's log says why"

    def _end(self, error: str) -> None:
        if self.error:
            return
        self.error = error
        self._deadline.cancel()
        self._process.kill()
        self._process.join()
        self._folder.cleanup()


def make(sender: Connection, most: int, arguments: list[str]) -> None:
    """In a process of its own: make the film that demo.py makes of these arguments; send the share that is done, at
    last "" or what is wrong."""
    bound(most)
    os.chdir(PROJECT)

    @contextmanager
    def sent(_: str, total: float) -> Iterator[Advance]:
        done = 0.0

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            sender.send(min(done / total, 1.0) if total else 0.0)

        yield advance

    try:
        from painting.films import paint_film

        parser = cli.Parser()
        add_options(parser)
        request = request_of(parser.parse_args(arguments))
        with told_to(sent):
            _, damage = paint_film(find_film(request), request)
        sender.send(one_line(damage or ""))
    except InputError as error:
        sender.send(one_line(str(error)))
    except Exception as error:
        if not is_memory_error(error):
            raise
        sender.send("this film takes more memory than there is; choose a smaller scale")
