"""Folders of training runs: what they hold, who may write there, and whether a run goes on as it began."""

import logging
import re
import shutil
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.config import FOLDER_NAME, MAPPING, SWITCH, Check, check_types, whole, write_yaml
from utils.errors import InputError
from utils.files import LOCK, atomic_file, clear_temporaries, locked, new_folder, writing
from utils.processes import gathered, gathered_from_first, is_first, restarted
from utils.registry import shortened

CHECKPOINT = re.compile(r"epoch-(last|best|\d+)\.(pth|safetensors)")
NAMES = rf"{CHECKPOINT.pattern}|config(-until-step-\d+)?\.yaml|log\.txt|(history|curves)\.csv|(plot|validation)\.png"
RUN_FILE = re.compile(rf"{NAMES}|\.({NAMES})\.\w{{8}}(\.tmp)?|{re.escape(LOCK)}")  # the second are temporaries
EVENTS = "tensorboard"
EVENT_FILE = re.compile(r"events\.out\.tfevents\..*")
# What may differ when a run goes on: how long, how fast it is read, where things lie, and who follows it.
FREE = (
    "epoch_max",
    "num_workers",
    "cache",
    "licence",
    "compile",
    "channels_last",
    "init",
    "resume",
    "root_path",
    "root_path_1",
    "root_path_2",
    "folder",  # of a teacher, whose hash tells what is in it
    "logger",
    "read_every",
    "split_file",
)
STATE = {
    "step": whole(0), "epoch": whole(0), "steps_per_epoch": whole(1), "pending": SWITCH, "processes": whole(1),
    "scaler": MAPPING,
    "best": Check("a number", lambda v: isinstance(v, float)),
    "losses": Check("a sum and a count", lambda v: isinstance(v, list) and len(v) == 2),
}  # fmt: skip


def run_folder(root: str, name: str, tag: str | None) -> Path:
    """`root/name_tag`; InputError for names that are no single folder name."""
    name = f"{name}_{tag}" if tag else name
    if not FOLDER_NAME.fits(name) or Path(name).name != name:
        raise InputError(f"{name!r} is no name for a run; give --name and --tag without separators")
    return Path(root) / name


def intended(folder: Path, arguments: Namespace) -> Namespace:
    """The `arguments` of train.py, with `resume` and `overwrite` as `--auto-resume` means them for the run in `folder`:
    to continue it where it is there. So do jobs that torchrun has started again."""
    if arguments.auto_resume and (arguments.resume or arguments.overwrite):
        raise InputError("--auto-resume continues a run or starts one; leave --resume and --overwrite out")
    if not (arguments.auto_resume or any(gathered(restarted()))):  # only one machine counts a restart
        return arguments
    there = gathered_from_first((folder / "epoch-last.pth").exists())
    intention = {"resume": arguments.resume or there, "overwrite": arguments.overwrite and not there}
    return Namespace(**{**vars(arguments), **intention, "auto_resume": True})


@contextmanager
def claimed(folder: Path, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold the `folder` of a run against other processes; what killed ones left half written is removed.

    InputError when it is in use, when a run there would mix with an earlier one or with anything else, and when there
    is none to resume.
    """
    _check_folder(folder, resume, overwrite)
    with new_folder(folder), locked(folder):
        _check_folder(folder, resume, overwrite)  # again, now that nobody else writes there
        clear_temporaries(folder, before=time.time())
        yield


def _check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    try:
        entries = sorted(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}; use another --name") from None
    if resume:
        if folder / "epoch-last.pth" not in entries:
            raise InputError(f"--resume: no {folder / 'epoch-last.pth'}; start without --resume")
        return
    for path in entries:
        if not _is_of_run(path):
            raise InputError(f"{path} does not belong to a run, so {folder} is left alone; use another --name")
    if not overwrite and any(CHECKPOINT.fullmatch(path.name) for path in entries):
        raise InputError(f"{folder} holds a run; --resume continues it, --overwrite deletes it, --tag names a new one")


def _is_of_run(path: Path) -> bool:
    """Whether a run has written what is at `path`: files of its names, and a folder of event files."""
    if path.name == EVENTS and path.is_dir() and not path.is_symlink():
        return all(EVENT_FILE.fullmatch(event.name) and not event.is_dir() for event in path.iterdir())
    return RUN_FILE.fullmatch(path.name) is not None and not path.is_dir()


def remove_run(folder: Path) -> None:
    """Delete the files of the run in `folder`, but not its lock; whatever else is there stays."""
    for path in list(folder.iterdir()):
        if path.name == LOCK or not _is_of_run(path):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_config(folder: Path, config: Mapping[str, Any], earlier: Mapping[str, Any] | None, step: int) -> None:
    """`config.yaml`; an `earlier` config that is another stays as `config-until-step-STEP.yaml`."""
    files = {folder / "config.yaml": config}
    former = folder / f"config-until-step-{step}.yaml"
    if earlier is not None and earlier != config and not former.exists():
        files[former] = earlier
    for path, content in files.items():
        with atomic_file(path) as temporary:
            temporary.write_text(write_yaml(dict(content)))


def earlier_config(
    path: Path, state: Mapping[str, Any], config: Mapping[str, Any], data_norm: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The config of the run that saved `state` at `path`, or, for files of the authors' programs, what they tell of it
    laid over `config`, whose normalisation is `data_norm`. InputError when the file holds no training state."""
    parts = [state.get(key) for key in ("model", "optimizer")]
    if not all(isinstance(part, Mapping) for part in parts) or not ("step" in state or "epoch" in state):
        raise InputError(f"{path} holds no training state; use it as 'init' to start from its weights")
    check_types(state, STATE, str(path))
    if isinstance(state.get("config"), Mapping):
        return state["config"]
    model, optimizer = ({key: part[key] for key in ("name", "args") if part.get(key)} for part in parts)
    norm = {} if state.get("data_norm", data_norm) == data_norm else {"data_norm": state["data_norm"]}
    return {**config, "model": model, "optimizer": optimizer, **norm}


def check_same_config(
    path: Path, earlier: Mapping[str, Any], config: Mapping[str, Any], allowed: Sequence[str]
) -> list[str]:
    """`key: before -> now` of every setting in which `config` differs from the `earlier` one of the state at `path`.

    InputError names those that are neither FREE nor below one of the `allowed` dotted keys.
    """
    before, now = dict(leaves(earlier)), dict(leaves(config))
    changes = {
        key: f"{key}: {shortened(before.get(key))} -> {shortened(now.get(key))}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    }
    below = tuple(f"{name}." for name in allowed)
    ends = {key: {key.partition(".")[0], key.rpartition(".")[2]} for key in changes}
    refused = [key for key in changes if not ends[key] & {*FREE} and not f"{key}.".startswith(below)]
    if refused:
        raise InputError(
            f"{path} was trained with other settings ({', '.join(changes[key] for key in refused)}); undo that, take "
            f"it with --allow-changes {' '.join(refused)}, or use the file as 'init'"
        )
    return list(changes.values())


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from leaves(part, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def step_of(state: Mapping[str, Any], steps_per_epoch: int) -> int:
    """The step that `state` had come to, in epochs of `steps_per_epoch`: of a training set that has grown or shrunk
    the same part of the epoch is done."""
    then = state.get("steps_per_epoch", steps_per_epoch)
    epoch, done = divmod(state["step"], then) if "step" in state else (state["epoch"], 0)
    return epoch * steps_per_epoch + done * steps_per_epoch // then


def run_logger(folder: Path) -> logging.Logger:
    """A logger that writes to the screen and appends to `log.txt` of the run, in the first of several processes."""
    logger = logging.getLogger(str(folder))
    if not is_first():
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        return logger
    logger.setLevel(logging.INFO)
    with writing(folder / "log.txt"):
        logger.handlers = [logging.StreamHandler(), logging.FileHandler(folder / "log.txt")]
    for handler in logger.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%m-%d %H:%M:%S"))
    return logger
