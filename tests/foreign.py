"""Checkpoints as other programs write them."""

from typing import Any

import torch

import models
from tests.conftest import SMALL_LMLIIF


def small_model(name: str = "lmliif", **args: Any) -> dict[str, Any]:
    """`{name, args, sd}` of a small model."""
    torch.manual_seed(0)
    spec = SMALL_LMLIIF if name == "lmliif" else {"name": name, "args": args}
    return {**spec, "sd": dict(models.make(spec).state_dict())}


def make_network(zipped: bool) -> None:
    """A LeRF-L as its authors' program pickles it, as m.pth."""
    torch.manual_seed(0)
    model = models.make({"name": "lerf-l", "args": {"nf": 4, "modes": "s"}}).eval()
    torch.save(model, "m.pth", _use_new_zipfile_serialization=zipped)


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
