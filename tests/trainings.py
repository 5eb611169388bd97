"""A small training, and what it leaves, for tests."""

from collections.abc import Sequence
from pathlib import Path

import yaml

import train
from models.checkpoints.loading import load_checkpoint
from tests.commands import call
from tests.conftest import SMALL_LMLIIF


def train_config(pictures: Path, **changes) -> Path:
    dataset = {"name": "image-folder", "args": {"root_path": str(pictures), "repeat": 4, "cache": "in_memory"}}
    wrapper = {
        "name": "sr-implicit-downsampled",
        "args": {"inp_size": 8, "scale_max": 4, "sample_q": 64, "augment": True},
    }
    config = {
        "train_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "val_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "model": SMALL_LMLIIF,
        "optimizer": {"name": "adam", "args": {"lr": 1e-3}},
        "epoch_max": 4,
        "multi_step_lr": {"milestones": [2], "gamma": 0.5},
        "epoch_save": 2,
        "num_workers": 0,
        **changes,
    }
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def trained(config: Path, name: str, *changes: str, options: Sequence = ()) -> dict:
    """What a training with `changes`, as --set takes them, has saved in save/NAME."""
    sets = ("--set", *changes) if changes else ()
    call(train, "--config", config, "--name", name, "--device", "cpu", *sets, *options)
    return checkpoint_of(name)


def checkpoint_of(name: str, file: str = "epoch-last.pth") -> dict:
    """What a run has saved, but for the settings that may differ."""
    state = load_checkpoint(f"save/{name}/{file}")
    state.pop("config")
    return state


HOLDER = """
import sys
from pathlib import Path
from utils.files import locked
with locked(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""
