"""The one exception that means "the user can fix this"."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A mistake in what the user gave: a file, an option, a name, a size.

    The message is one line that names the culprit and the remedy; command-line programs print it and
    exit with status 2 (see `utils.cli.run`). Everything else is a bug and keeps its traceback.
    """


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown `name`: the closest of `known`, or all of them when none is close."""
    known = sorted(map(str, known))
    close = get_close_matches(str(name), known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known) or 'none'}"
