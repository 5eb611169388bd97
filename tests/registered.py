"""Small specs of all registered models, and checkpoints as other programs write them."""

from pathlib import Path
from typing import Any

import torch

import models
from models.decoders import on_encoder
from tests.conftest import SMALL_LMLIIF
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


def small_model(name: str = "lmliif", **args: Any) -> dict[str, Any]:
    """`{name, args, sd}` of a small model."""
    torch.manual_seed(0)
    spec = SMALL_LMLIIF if name == "lmliif" else {"name": name, "args": args}
    return {**spec, "sd": dict(models.make(spec).state_dict())}


def make_network() -> None:
    """A LeRF-L as its authors' program pickles it, as m.pth."""
    torch.manual_seed(0)
    model = models.make({"name": "lerf-l", "args": {"nf": 4, "modes": "s"}}).eval()
    torch.save(model, "m.pth")


def make_mmediting() -> None:
    """A CiaoSR under the names of MMEditing, as m.pth."""
    names = {"head.0.": "conv_first.", "body.0.body.0.": "body.0.conv1.", "body.0.body.2.": "body.0.conv2."}
    names["body.1."] = "conv_after_body."
    mlp = {"name": "mlp", "args": {"hidden_list": [8]}}
    encoder = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 4, "no_upsampling": True}}
    args = {"encoder": encoder, "imnet_q": mlp, "imnet_k": mlp, "imnet_v": mlp}
    stored = {}
    for name, value in small_model("ciaosr", **args)["sd"].items():
        name = name.removeprefix("encoder.")
        for ours, theirs in names.items():
            name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
        stored[f"generator.{name}"] = value
    torch.save({"state_dict": stored}, "m.pth")
