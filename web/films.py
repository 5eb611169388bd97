"""Films of visitors: demo.py makes each in a process of its own, ended at a deadline or when nobody asks for it."""

import fcntl
import os
import re
import secrets
import struct
import subprocess
import sys
import termios
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from time import monotonic
from typing import Any

from utils.files import PROJECT
from utils.geometry.sizes import Scale, scale_text
from web.settings import Refused, missing
from web.uploads import resource, safe_name

FILM_SECONDS = 1800  # in which a film has to be made
FILM_IDLE = 30  # seconds in which nobody asks for a film, after which it makes room for another
MOST_FILMS = 1  # that are made at a time
FILM_MEMORY = 6 << 30  # bytes of address space beside the memory budget, most of it PyTorch's libraries
ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")


class Film:
    """A film on its way to a `file` beside it in a temporary folder, told and ended as an `Export`."""

    def __init__(self, content: bytes, name: str, model: str, scale: Scale, memory: int):
        source = Path(safe_name(name))
        if source.suffix.lower() not in ENDINGS:
            raise Refused(f"{source} is not a film that can be read here; send {', '.join(ENDINGS)}", 415)
        self.name, self.file = secrets.token_urlsafe(12), f"{source.stem}_x{scale_text(scale)}.mp4"
        self.error = self._said = ""
        self._folder = TemporaryDirectory(prefix="continua-film-", ignore_cleanup_errors=True)
        self._options = ["--scale", scale_text(scale), "--model", model, "--output"]
        given = Path(self._folder.name, f"in{source.suffix.lower()}")
        given.write_bytes(content)
        self._target = Path(self._folder.name, self.file)
        terminal, end = os.openpty()  # demo.py shows its progress on terminals only
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # else there is no place for it
        os.set_blocking(terminal, False)
        self._terminal = open(terminal, "rb", buffering=0)  # noqa: SIM115
        command = [sys.executable, "demo.py", "--input", given, *self._options, self._target]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=end, stderr=end)
        os.close(end)
        os.setpriority(os.PRIO_PROCESS, self._process.pid, 10)  # tiles come first
        if hasattr(resource, "prlimit"):  # Linux
            resource.prlimit(self._process.pid, resource.RLIMIT_AS, (memory + FILM_MEMORY,) * 2)
        self.asked = monotonic()
        self._deadline = Timer(FILM_SECONDS, self._end, [f"this takes longer than {FILM_SECONDS // 60} minutes"])
        self._deadline.daemon = True
        self._deadline.start()

    @property
    def state(self) -> str:
        """`painting`, `finished`, `cancelled` or `failed`."""
        if self.error:
            return "cancelled" if self.error == "cancelled" else "failed"
        if self._process.poll() is None:
            return "painting"
        self._read()
        if self._process.returncode == 0 and self._target.is_file():
            self._deadline.cancel()
            return "finished"
        lines = re.findall(r"demo\.py: (.*)", self._said)
        said = lines[-1].strip() if lines else "this film cannot be made"
        self._end(said.replace(self._folder.name + os.sep, ""))
        return "failed"

    def describe(self) -> dict[str, Any]:
        state, self.asked = self.state, monotonic()
        if state == "painting":
            self._read()
        shares = re.findall(r"(\d+)%\|", self._said)
        return {
            "name": self.name,
            "state": state,
            "done": int(shares[-1]) / 100 if shares else 0.0,
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
        """What demo.py has said meanwhile; it waits while nobody asks."""
        try:
            while said := self._terminal.read(1 << 16):
                self._said = (self._said + said.decode(errors="replace"))[-4000:]
        except OSError:  # the process has ended
            pass

    def _end(self, error: str) -> None:
        if self.error:
            return
        self.error = error
        self._deadline.cancel()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
