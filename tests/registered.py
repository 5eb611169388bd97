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


def mmediting_name(name: str, blocks: int) -> str:
    """Ours -> theirs, written out independently of the reader."""
    part, _, rest = name.partition(".")
    if part != "encoder":
        return name
    words = rest.split(".")
    match words:
        case ["head", "0", kind]:
            return f"conv_first.{kind}"
        case ["body", i, "body", j, kind]:
            return f"body.{i}.conv{1 if j == '0' else 2}.{kind}"
        case ["body", i, kind] if int(i) == blocks:
            return f"conv_after_body.{kind}"
        case ["SFENet1" | "SFENet2" as layer, kind]:
            return f"sfe{layer[-1]}.{kind}"
        case ["RDBs", i, "convs", j, "conv", "0", kind]:
            return f"rdbs.{i}.layers.{j}.conv.{kind}"
        case ["RDBs", i, "LFF", kind]:
            return f"rdbs.{i}.lff.{kind}"
        case ["GFF", i, kind]:
            return f"gff.{i}.{kind}"
    return rest


def make_mmediting() -> None:
    """A CiaoSR under the names of MMEditing, as m.pth."""
    mlp = {"name": "mlp", "args": {"hidden_list": [8]}}
    encoder = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 4, "no_upsampling": True}}
    args = {"encoder": encoder, "imnet_q": mlp, "imnet_k": mlp, "imnet_v": mlp}
    parameters = small_model("ciaosr", **args)["sd"].items()
    torch.save({"state_dict": {f"generator.{mmediting_name(name, 1)}": value for name, value in parameters}}, "m.pth")
