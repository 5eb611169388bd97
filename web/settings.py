"""What app.py is told, and what it can do without PyTorch."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from utils.errors import InputError
from utils.files import PROJECT

STATIC = Path(__file__).parent / "static"
SAMPLES = PROJECT / "load/samples"
SHORTEST_TOKEN = 12


@dataclass(frozen=True)
class Settings:
    """`memory` is the budget in bytes for pictures, latents and results together; `pixels` and `file_bytes` are the
    largest upload."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    memory: int = 2 << 30
    pixels: int = 2_000_000
    file_bytes: int = 64 << 20
    backend: str = "auto"

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise InputError(
                f"--host {self.host} opens the page to others; give --token TEXT, or set CONTINUA_TOKEN, to let only "
                "those in who know it"
            )
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise InputError(f"--token: expected at least {SHORTEST_TOKEN} ASCII characters")

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
