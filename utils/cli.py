"""Shared by the command-line programs: one-line errors, real booleans, sizes and scales."""

import argparse
import io
import math
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from utils.errors import InputError, nearest_name, one_line
from utils.files import PROJECT
from utils.geometry.sizes import Scale, Size, parse_scale, parse_sides
from utils.processes import Stopped, follows, repeats_others
from utils.registry import BACKENDS, FILTERS, PRECISIONS
from utils.system import is_memory_error


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Says what a default is where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with exit status 2."""

    def __init__(self, **arguments):
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **{"prog": _program(), **arguments})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Like argparse, but a value may start with a minus (`--homography -1,0,23,0,1,0,0,0,1`) but not be empty,
        underscores pass for hyphens and the other way round, and an unknown option names the nearest known one."""
        known = self.options()
        spellings = {option[2:].replace("_", "-"): option for option in known}
        joined: list[str] = []
        for argument in sys.argv[1:] if args is None else args:
            if joined and re.fullmatch(r"--[^=]+", joined[-1]) and re.match(r"-(?!-|h$).", argument):
                joined[-1] += f"={argument}"
                continue
            option, equals, value = argument.partition("=")
            if not argument or (equals and not value and option in known):  # an unset variable of a shell
                self.error("an option has an empty value; give it one, or leave it out")
            if re.match(r"--\w", option) and option not in known:
                if (meant := spellings.get(option[2:].replace("_", "-"))) is None:
                    self.error(f"unknown option {option}; {nearest_name(option, known)}")
                argument = f"{meant}{equals}{value}"
            joined.append(argument)
        return super().parse_args(joined, namespace)

    def options(self) -> set[str]:
        """`--name` of every option, those of subcommands included."""
        known = {option for action in self._actions for option in action.option_strings if option.startswith("--")}
        subcommands = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return known.union(*(parser.options() for action in subcommands for parser in action.choices.values()))

    def error(self, message: str):
        self.exit(2, None if repeats_others() else f"{self.prog}: {one_line(message)}; see --help\n")


def run(main: Callable[[Sequence[str] | None], str | None]) -> None:
    """Run a program and print its result, if any.

    A user's mistake (InputError), a full disk, an unreadable file or missing memory ends in one line and exit status 2;
    stopped work exits with its own status, Ctrl-C with 130, a closed pipe (`| head -1`) silently with 141 (SIGPIPE).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of locales that cannot write all names
    try:
        if said := main(None):
            print(said)
        sys.stdout.flush()  # at exit, a reader that has gone would end in Python's own words
    except Stopped as stopped:
        if not follows():
            print(f"{_program()}: {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        if not follows():
            print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            sys.exit(141)
        message = explained(error)
        if message is None:
            raise
        if not repeats_others():
            print(f"{_program()}: {one_line(message)}", file=sys.stderr)
        sys.exit(2)


def _reader_has_gone() -> bool:
    """Whether standard output has lost its reader; the rest of it is then discarded."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in pipe.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _program() -> str:
    """`train.py`, `tools.runs` of `python -m tools.runs`, or `continua train`."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    name = Path(sys.argv[0]).name
    return module.name.removesuffix(".__main__") if module and name.endswith(".py") else name


def explained(error: Exception) -> str | None:
    """The message for an error that the user can mend; None for a bug."""
    if isinstance(error, InputError):
        # A data worker's mistake arrives with the worker's traceback as its text, the message in its last line.
        return str(error).rpartition(f"{InputError.__name__}: ")[2]
    if is_memory_error(error):
        return "there is not enough memory for this; choose a smaller size or scale, or fewer models at once"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        own = __name__.partition(".")[0]  # that of an installed project
        if package != own and not any((PROJECT / name).exists() for name in (package, f"{package}.py")):  # else a bug
            return f"the Python package {package} is not installed; pip install -r requirements.txt"
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _value(text: str, parse: Callable[[str], Any], fits: Callable[[Any], bool], expected: str) -> Any:
    """`parse(text)`; argparse's error, which says what was `expected`, where that fails or does not fit."""
    try:
        value = parse(text)
    except ValueError:
        pass
    else:
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"expected {expected}, not '{text}'")


def boolean(text: str) -> bool:
    """`True`, `false`, `yes`, `0` ... as a bool."""
    meaning = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    return _value(text, lambda _: meaning.get(text.lower()), lambda value: value is not None, "True or False")


def scale(text: str) -> Scale:
    """`2.5` or `3x1.5` (height x width) -> (height, width) factors, above 0."""
    try:
        return parse_scale(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def scales(text: str) -> list[Scale]:
    """`2,3x1.5,4` -> list of (height, width) factors."""
    return [scale(part) for part in text.split(",")]


def positive(text: str) -> float:
    """A finite number above 0."""
    return _value(text, float, lambda value: 0 < value < math.inf, "a number above 0")


def seed(text: str) -> int:
    """A whole number from 0."""
    return _value(text, int, lambda value: value >= 0, "a whole number from 0")


def count(text: str) -> int:
    """A whole number from 1."""
    return _value(text, int, lambda value: value >= 1, "a whole number from 1")


def interval(text: str) -> tuple[int | None, float | None]:
    """`500` steps or `7.5m`, minutes -> (steps, minutes), of which one is None."""
    return (None, positive(text[:-1])) if text.endswith("m") else (count(text), None)


def numbers(text: str) -> list[float]:
    """`2,3.5,6` -> numbers above 0."""
    return [positive(part) for part in text.split(",")]


def size(text: str) -> Size:
    """`1920x1080` (width x height) -> (H, W)."""
    return _value(text, parse_sides, lambda sides: None not in sides, "WIDTHxHEIGHT such as 1920x1080")


def memory(text: str) -> int:
    """`2G`, `500M` or a number of bytes -> bytes; G and M are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?", text.lower())
    parse = lambda _: match and int(float(match[1]) * 1024 ** " kmg".index(match[2] or " "))  # noqa: E731
    return _value(text, parse, bool, "a size such as 2G or 500M")


SHARED: dict[str, dict[str, Any]] = {
    "set": {
        "action": "extend", "nargs": "+", "default": [], "metavar": "KEY.PATH=VALUE", "help": "change config values",
    },
    "ensemble": {
        "action": "store_true", "help": "average over eight flips and turns of the picture, in eight times the time",
    },
    "upsampler": {
        "metavar": "MODEL", "help": "LeRF-Net++: run a LeRF-Net on pictures that this model has enlarged by 2",
    },
    "fast": {
        "type": boolean, "default": True, "metavar": "BOOL",
        "help": "False samples position by position as in training and for warps: slower, the same picture",
    },
    "cmsr": {
        "nargs": "?", "type": boolean, "const": True, "default": False, "metavar": "BOOL",
        "help": "render easy regions lower",
    },
    "cmsr-path": {"metavar": "TABLE", "help": "scale2mod table (default: configs/cmsr/result/MODEL.yaml)"},
    "cmsr-mse": {"type": float, "help": "take configs/cmsr/result/MODEL_MSE.yaml instead"},
    "cmsr-from": {"type": positive, "metavar": "SCALE", "help": "full rendering up to this scale (4 unless given)"},
    "force": {"action": "store_true", "help": "use a table that was made for other weights"},
    "backend": {
        "choices": BACKENDS, "default": "auto",
        "help": "native: C++ on a CPU; triton: kernels on a GPU; torch: PyTorch; auto: the first that works here",
    },
    "precision": {
        "choices": PRECISIONS, "default": "float32",
        "help": "of encoders; auto is bfloat16 where the processor multiplies it and the model loses at most 0.005 dB",
    },
    "device": {"default": "auto", "help": "auto, cpu, cuda, cuda:N or mps"},
    "gpu": {"metavar": "N", "help": "GPU number, as in the published programs; the CPU where there is none"},
    "threads": {
        "type": count, "metavar": "N",
        "help": "on a CPU (default: one a core, no more than the container's quota allows)",
    },
}  # fmt: skip
CMSR = ("cmsr", "cmsr-path", "cmsr-mse", "cmsr-from", "force")
DEVICE = ("device", "gpu", "threads")


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """The options of SHARED with these names, which several programs have."""
    for name in names:
        parser.add_argument(f"--{name}", **SHARED[name])


def add_model_options(
    parser: argparse.ArgumentParser, shipped: Iterable[str], otherwise: str = "", **model: Any
) -> None:
    """`--model`, one of the `shipped`, a file of a decoder or the name of a filter, and what may go with it.

    `otherwise`: the end of its help."""
    known = f"shipped model ({', '.join(shipped)}), checkpoint, folder of LeRF LUTs, or filter ({', '.join(FILTERS)})"
    parser.add_argument("--model", help=known + otherwise, **model)
    add_options(parser, "upsampler", "ensemble")
