"""Official CiaoSR files: mmediting's names become ours."""

import pytest
import torch

import models
from models.checkpoints.loading import load_upscaler
from tests.golden_cases import assert_close, fill, manifest
from utils.errors import InputError

SPEC = manifest("models")["original_edsr-baseline-ciaosr"]["model"]
ENCODERS = {
    "edsr-baseline": {"n_resblocks": 3, "n_feats": 16, "no_upsampling": True},
    "rdn": {"G0": 8, "RDNconfig": "A", "no_upsampling": True},
    "swinir": {"no_upsampling": True},
}


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
    stored["generator.cs_attn.escape_NaN"] = torch.tensor([1e-4])
    torch.save({"meta": {"epoch": 1}, "state_dict": stored}, tmp_path / "official.pth")

    loaded = load_upscaler(tmp_path / "official.pth").model
    inputs = torch.rand(1, 3, 8, 9), torch.rand(1, 40, 2) * 2 - 1, torch.full((1, 2), 0.1)
    with torch.inference_mode():
        assert_close(loaded(*inputs), model(*inputs), 1e-5)


def test_averaged_weights_come_first(tmp_path) -> None:
    encoder = {"name": "edsr-baseline", "args": ENCODERS["edsr-baseline"]}
    model = fill(models.make({"name": "ciaosr", "args": {**SPEC["args"], "encoder": encoder}}))
    parameters = {mmediting_name(n, 3): v for n, v in model.state_dict().items() if "_mean." not in n}
    stored = {f"generator.{name}": torch.zeros_like(value) for name, value in parameters.items()}
    stored |= {f"generator_ema.{name}": value for name, value in parameters.items()}
    torch.save({"state_dict": stored}, tmp_path / "official.pth")
    loaded = load_upscaler(tmp_path / "official.pth").model
    assert torch.equal(loaded.imnet_q.layers[0].weight, model.imnet_q.layers[0].weight)


def test_files_that_do_not_fit_are_explained(tmp_path) -> None:
    path = tmp_path / "official.pth"
    torch.save({"state_dict": {"generator.imnet_q.layers.0.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(InputError, match=r"official\.pth.*encoder"):
        load_upscaler(path)
