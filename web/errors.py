"""Mistakes that a browser is answered with."""

from utils.errors import InputError


class Refused(InputError):
    """A request that is not answered, with the HTTP `status` that says why, and what is `missing`, if it is that."""

    def __init__(self, message: str, status: int = 400, missing: str | None = None):
        super().__init__(message)
        self.status, self.missing = status, missing


def missing(what: str) -> Refused:
    return Refused(
        f"no {what} here; it was closed, dropped to free memory, or is another visitor's: open it again", 404, what
    )
