"""Folders of training runs."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import InputError


def run_folder(root: str, name: str, tag: str | None) -> Path:
    """`root/name_tag`; InputError for names that are no single folder name."""
    name = f"{name}_{tag}" if tag else name
    if name in ("", ".", "..") or Path(name).name != name:
        raise InputError(f"'{name}' is no name for a run; give --name and --tag without separators")
    return Path(root) / name


def check_run_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """InputError when a run in `folder` would mix with an earlier one or delete anything else, or leaves none to
    resume."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; use another --name")
    holds_run, holds_checkpoint = (folder / "log.txt").is_file(), (folder / "epoch-last.pth").is_file()
    if resume and not holds_checkpoint:
        raise InputError(f"--resume: no {folder / 'epoch-last.pth'}; start without --resume")
    if folder.is_dir() and any(folder.iterdir()) and not holds_run:
        raise InputError(f"{folder} is not the folder of a run and is left alone; use another --name")
    if holds_checkpoint and not (resume or overwrite):
        raise InputError(f"{folder} holds a run; --resume continues it, --overwrite deletes it, --tag names a new one")


def check_same_run(
    path: Path, state: Mapping[str, Any], config: Mapping[str, Any], data_norm: Mapping[str, Any], steps_per_epoch: int
) -> None:
    """InputError when the checkpoint `state` read from `path` is no training state, or one of other settings than
    `config`."""
    if not isinstance(state.get("optimizer"), Mapping) or not ("step" in state or "epoch" in state):
        raise InputError(f"{path} holds no training state; use it as 'init' to start from its weights")
    described = {
        "model.name": (state["model"].get("name"), config["model"]["name"]),
        "model.args": (state["model"].get("args") or {}, config["model"].get("args") or {}),
        "optimizer.name": (state["optimizer"].get("name"), config["optimizer"]["name"]),
        "optimizer.args": (state["optimizer"].get("args") or {}, config["optimizer"].get("args") or {}),
        "data_norm": (state.get("data_norm", data_norm), data_norm),
        "steps an epoch": (state.get("steps_per_epoch", steps_per_epoch), steps_per_epoch),
    }
    for key, (saved, wanted) in described.items():
        if saved != wanted:
            raise InputError(
                f"{path} was trained with another {key} than the config's; undo that or use the file as 'init'"
            )


def prepare_run_folder(folder: Path, overwrite: bool) -> None:
    """Make the folder of a run, emptied first when `overwrite`."""
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}; choose another --save-root") from None


def run_logger(folder: Path) -> logging.Logger:
    """A logger that writes to the screen and appends to `log.txt` of the run."""
    logger = logging.getLogger(str(folder))
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler(), logging.FileHandler(folder / "log.txt")]
    for handler in logger.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%m-%d %H:%M:%S"))
    return logger
