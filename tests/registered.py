"""Small specs of all registered models, for tests that hold for each of them."""

from pathlib import Path
from typing import Any

import models
from models.decoders import on_encoder
from utils.config import find_configs, load_config

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL_ENCODER = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 8, "no_upsampling": True}}
DECODERS, FILTERS = models.names("decoders"), models.names("resampling")


def _specs_of_configs() -> dict[str, dict[str, Any]]:
    """The first model of each name in the training configs."""
    specs: dict[str, dict[str, Any]] = {}
    for path in find_configs(f"{CONFIGS}/train-*/train_edsr-*.yaml"):
        spec = load_config(path)["model"]
        specs.setdefault(spec["name"], spec)
    return specs


SPECS = _specs_of_configs()


def small_spec(name: str) -> dict[str, Any]:
    """The decoder of that name as its training config describes it, or with its defaults, on a small encoder and with
    narrow networks; a filter by its name."""
    if name not in DECODERS:
        return {"name": name}
    return on_encoder(name, SMALL_ENCODER, _narrow(SPECS.get(name, {}).get("args", {})))


def _narrow(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments, with 16 units in every hidden layer and two such layers in every MLP."""
    small = {"hidden_dim": 16, "hidden_list": [16, 16]}
    return {
        key: small.get(key, _narrow(value) if isinstance(value, dict) else value) for key, value in arguments.items()
    }
