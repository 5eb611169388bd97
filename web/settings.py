"""Settings of the page's server, and requests that it refuses. Without PyTorch."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from utils.errors import InputError
from utils.files import PROJECT

STATIC = Path(__file__).parent / "static"
SAMPLES = PROJECT / "load/samples"
SHORTEST_TOKEN = 12
BYTES_PER_PIXEL = 40  # of the memory budget, for each pixel that a picture may have
LOOPBACK_PIXELS = 50_000_000  # a phone's picture opens on one's own machine whatever the budget is
PUBLIC = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?(/[^?#\s;,\"]*)?")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class Refused(InputError):
    """A request that is not answered, with the HTTP `status` that says why, and what is `missing`, if it is that."""

    def __init__(self, message: str, status: int = 400, missing: str | None = None):
        super().__init__(message)
        self.status, self.missing = status, missing


def missing(what: str) -> Refused:
    return Refused(
        f"no {what} here; it was closed, dropped to free memory, or is another visitor's: open it again", 404, what
    )


@dataclass(frozen=True)
class Settings:
    """`memory`: bytes for pictures, latents and results together. `pixels` of a picture and `file_bytes` of a file are
    the largest that are taken; without `pixels` the memory decides. `public_url`: where a proxy shows the page."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    memory: int = 2 << 30
    pixels: int | None = None
    file_bytes: int = 64 << 20
    backend: str = "auto"
    public_url: str | None = None

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise InputError(
                f"--host {self.host} opens the page to others; give --token TEXT, or set CONTINUA_TOKEN, to let only "
                "those in who know it"
            )
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise InputError(f"--token: expected at least {SHORTEST_TOKEN} ASCII characters")
        if self.public_url is not None and not PUBLIC.fullmatch(self.public_url):
            raise InputError(f"--public-url {self.public_url}: expected an address such as https://host/path/")
        if self.pixels is None:
            least = LOOPBACK_PIXELS if is_loopback(self.host) else 0
            object.__setattr__(self, "pixels", max(self.memory // BYTES_PER_PIXEL, least))

    @property
    def address(self) -> str:
        """Where this machine opens the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.root}/"

    @property
    def root(self) -> str:
        """The path below which a proxy shows the page, "" for none: `/sr` of `https://host/sr/`."""
        return urlsplit(self.public_url).path.rstrip("/") if self.public_url else ""

    @property
    def hosts(self) -> list[str]:
        """Names by which the server may be asked for, against DNS rebinding; `*` where a token protects it."""
        if not is_loopback(self.host):
            return ["*"]
        public = [PUBLIC.fullmatch(self.public_url)[1]] if self.public_url else []
        return [*LOOPBACK_HOSTS, f"[{self.host}]" if ":" in self.host else self.host, *public]

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a request's Origin is this page: as its Host says, or as the public address does."""
        public = urlsplit(self.public_url or "")
        return origin.partition("://")[2] == host or origin == f"{public.scheme}://{public.netloc}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
