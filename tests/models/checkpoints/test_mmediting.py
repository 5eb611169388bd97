"""Official CiaoSR files: mmediting's names become ours."""

import pytest
import torch

import models
from models.checkpoints.loading import load_upscaler
from tests.golden_cases import assert_close, fill, manifest
from tests.registered import mmediting_name
from utils.errors import InputError

SPEC = manifest("models")["original_edsr-baseline-ciaosr"]["model"]
ENCODERS = {
    "edsr-baseline": {"n_resblocks": 3, "n_feats": 16, "no_upsampling": True},
    "rdn": {"G0": 8, "RDNconfig": "A", "no_upsampling": True},
    "swinir": {"no_upsampling": True},
}


@pytest.mark.parametrize(("encoder", "below"), [("edsr-baseline", "encoder."), ("rdn", ""), ("swinir", "")])
def test_official_files_give_the_same_picture(tmp_path, encoder, below) -> None:
    hidden = {part: {"name": "mlp", "args": {"hidden_list": [24, 20]}} for part in ("imnet_q", "imnet_k", "imnet_v")}
    args = {**SPEC["args"], **hidden, "encoder": {"name": encoder, "args": ENCODERS[encoder]}}
    model = fill(models.make({"name": "ciaosr", "args": args}))
    stored = {}
    for name, value in model.state_dict().items():
        if "_mean." not in name:
            prefix = below if name.startswith("encoder.") else ""
            stored[f"generator.{prefix}{mmediting_name(name, 3)}"] = value
    if encoder == "edsr-baseline":  # averaged weights come first
        stored |= {name.replace("generator", "generator_ema", 1): value for name, value in stored.items()}
        stored |= {name: torch.zeros_like(value) for name, value in stored.items() if "_ema" not in name}
    stored["generator.cs_attn.escape_NaN"] = torch.tensor([1e-4])
    torch.save({"meta": {"epoch": 1}, "state_dict": stored}, tmp_path / "official.pth")

    loaded = load_upscaler(tmp_path / "official.pth").model
    inputs = torch.rand(1, 3, 8, 9), torch.rand(1, 40, 2) * 2 - 1, torch.full((1, 2), 0.1)
    with torch.inference_mode():
        assert_close(loaded(*inputs), model(*inputs), 1e-5)


def test_files_that_do_not_fit_are_explained(tmp_path) -> None:
    path = tmp_path / "official.pth"
    torch.save({"state_dict": {"generator.imnet_q.layers.0.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(InputError, match=r"official\.pth.*encoder"):
        load_upscaler(path)
