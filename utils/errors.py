"""The one exception that means "the user can fix this", and how values stand in its messages."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST_VALUE = 60  # characters of a value in a message
LONGEST_MESSAGE = 600


class InputError(ValueError):
    """A mistake in what the user gave: a file, an option, a name, a size.

    The message is one line that names the culprit and the remedy; command-line programs print it and
    exit with status 2 (see `utils.cli.run`). Everything else is a bug and keeps its traceback.
    """


class _ShortRepr(reprlib.Repr):
    """`repr` that does not walk all of a value: lists in a hostile file can hold each other millions of times."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, LONGEST_VALUE, LONGEST_VALUE, LONGEST_VALUE
        self.repr_OrderedDict = self.repr_dict


def shortened(value: Any) -> str:
    """The beginning of a value's representation, for one-line messages."""
    try:
        text = _ShortRepr().repr(value)
    except ValueError:  # Python writes no whole numbers of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def printable(text: str) -> str:
    """Text for a terminal: names of files may hold control characters, which would command it, or bytes that are none
    of the encoding; both stand as escapes such as \\x1b. Ends of lines stay."""
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def one_line(message: str) -> str:
    """`message` on one line; of a very long one, in which a value stands whole, the beginning and the end."""
    line = printable(" ".join(message.split()))
    if len(line) <= LONGEST_MESSAGE:
        return line
    return f"{line[: LONGEST_MESSAGE // 2]} ... {line[-LONGEST_MESSAGE // 2 :]}"


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown `name`: the closest of `known`, or all of them when none is close."""
    known = sorted(map(str, known))
    given = str(name)[:LONGEST_VALUE]
    close = [each for each in known if each.lower() == given.lower()] or get_close_matches(given, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known) or 'none'}"
