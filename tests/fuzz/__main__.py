"""Change files at random and read them as the programs do: `python -m tests.fuzz --seed 1 --count 300`.

Each case runs in a process of its own. Faults are tracebacks, errors of memory or the system, more than 10 s of
processor time or 2 GB, a process that dies or hangs, and what is read without a word but differs from what was
written. `--first N --count 1` repeats case N.
"""

import argparse
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch

from tests.fuzz.subjects import SUBJECTS, WrongError
from utils.cli import explained
from utils.errors import InputError

SECONDS = 10  # of the processor
HANGING = 120  # seconds
MEMORY = 2 << 30


def outcome(name: str, good: Path, case: str, folder: Path) -> tuple[str, str]:
    """(outcome, how it was changed) of one case, in this process: read, refused, or a fault."""
    subject = SUBJECTS[name]
    shutil.copytree(good, folder, dirs_exist_ok=True)
    os.chdir(folder)
    expected = subject.read() if subject.exact else None
    how = subject.change(Random(case)) if case else "unchanged"
    try:
        found = subject.read()
    except WrongError as error:
        return f"wrong in silence: {error}", how
    except SystemExit:
        return "refused", how
    except Exception as error:
        message = explained(error)
        if message is None:
            return f"traceback: {''.join(traceback.format_exception(error)[-3:])}", how
        return ("refused" if isinstance(error, InputError) else f"not refused but: {message[:300]}"), how
    return ("wrong in silence: other values" if subject.exact and found != expected else "read"), how


def run_case(name: str, good: Path, case: str) -> tuple[str, str]:
    """`outcome` in a process of its own, with limits."""
    with tempfile.TemporaryDirectory() as folder:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 5, SECONDS + 6))
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            result = outcome(name, good, case, Path(folder, "case"))
            used = resource.getrusage(resource.RUSAGE_SELF)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump((result, used.ru_utime + used.ru_stime), pipe)
            os._exit(0)
        os.close(writer)
        return judged(child, reader)


def judged(child: int, reader: int) -> tuple[str, str]:
    """The outcome that a child reports, or that it gives none."""
    deadline = time.monotonic() + HANGING
    while not (waited := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.wait4(child, 0)
            os.close(reader)
            return "hangs", "?"
        time.sleep(0.01)
    with os.fdopen(reader, "rb") as pipe:
        reported = pipe.read()
    _, status, used = waited
    if not reported:
        return f"died with status {status}", "?"
    (found, how), seconds = pickle.loads(reported)
    if seconds > SECONDS:
        return f"took {seconds:.0f} s", how
    if used.ru_maxrss * 1024 > MEMORY:
        return f"took {used.ru_maxrss >> 20} GB", how
    return found, how


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--subject", choices=list(SUBJECTS), help="only this")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    names = [arguments.subject] if arguments.subject else list(SUBJECTS)
    found: Counter[tuple[str, str]] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        home = os.getcwd()
        for name in names:
            good = Path(folder, name)
            good.mkdir()
            os.chdir(good)
            SUBJECTS[name].make()
            os.chdir(home)
            if (unchanged := run_case(name, good, "")) != ("read", "unchanged"):
                sys.exit(f"{name} as it was made: {unchanged[0]}")
        for number in range(arguments.first, arguments.first + arguments.count):
            name = names[number % len(names)]
            result, how = run_case(name, Path(folder, name), f"{arguments.seed} {number}")
            found[name, result if result in ("read", "refused") else "fault"] += 1
            if result not in ("read", "refused"):
                faults += 1
                print(f"case {number}, {name}, {how}: {result}", flush=True)
    for name in names:
        print(f"{name}: " + ", ".join(f"{found[name, kind]} {kind}" for kind in ("read", "refused", "fault")))
    print(f"{arguments.count} cases, {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
