"""Official CiaoSR checkpoints: state dicts of mmediting, read as `{name, args, sd}`.

Such a file is `{state_dict: {"generator.conv_first.weight": ..., ...}}` with the encoder's layers under mmediting's
names, directly below the generator or below `encoder`. The architecture follows from the names and shapes."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from utils.errors import InputError

# mmediting's name of an encoder layer -> ours; {last} is the number of residual blocks.
EDSR_NAMES = (
    (r"conv_first\.", "head.0."),
    (r"body\.(\d+)\.conv1\.", r"body.\1.body.0."),
    (r"body\.(\d+)\.conv2\.", r"body.\1.body.2."),
    (r"conv_after_body\.", "body.{last}."),
)
RDN_NAMES = (
    (r"sfe(\d)\.", r"SFENet\1."),
    (r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.", r"RDBs.\1.convs.\2.conv.0."),
    (r"rdbs\.(\d+)\.lff\.", r"RDBs.\1.LFF."),
    (r"gff\.", "GFF."),
)
RDN_CONFIGURATIONS = {20: "A", 16: "B"}
DECODER_PARTS = ("imnet_q", "imnet_k", "imnet_v", "cs_attn")


def is_mmediting(content: Mapping[str, Any]) -> bool:
    """Whether a loaded checkpoint is one of mmediting's CiaoSR."""
    names = content.get("state_dict")
    return isinstance(names, dict) and any("generator" in str(name) and "imnet_q" in str(name) for name in names)


def ciaosr_spec(content: Mapping[str, Any]) -> dict[str, Any]:
    """`{name: ciaosr, args, sd}` of such a checkpoint; the averaged weights (`generator_ema`) where it holds them."""
    stored: Mapping[str, Tensor] = content["state_dict"]
    prefix = "generator_ema." if any(name.startswith("generator_ema.") for name in stored) else "generator."
    given = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    decoder = {name: value for name, value in given.items() if name.startswith(DECODER_PARTS)}
    rest = {name.removeprefix("encoder."): value for name, value in given.items() if name not in decoder}
    encoder, parameters = _encoder(rest)
    imnets = {part: {"name": "mlp", "args": _mlp_arguments(decoder, part)} for part in DECODER_PARTS[:3]}
    args = {"encoder": encoder, **imnets, "non_local_attn": any(name.startswith("cs_attn") for name in decoder)}
    sd = {**{f"encoder.{name}": value for name, value in parameters.items()}, **decoder}
    return {"name": "ciaosr", "args": args, "sd": sd}


def _encoder(given: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Spec and renamed parameters of the encoder."""
    if "sfe1.weight" in given:
        blocks = 1 + max(int(name.split(".")[1]) for name in given if name.startswith("rdbs."))
        if blocks not in RDN_CONFIGURATIONS:
            raise InputError(f"an RDN encoder of {blocks} blocks is neither configuration A (20) nor B (16)")
        args = {"G0": len(given["sfe1.bias"]), "RDNconfig": RDN_CONFIGURATIONS[blocks], "no_upsampling": True}
        return {"name": "rdn", "args": args}, _renamed(given, RDN_NAMES)
    if "patch_embed.norm.weight" in given:
        return {"name": "swinir", "args": {"no_upsampling": True}}, dict(given)
    if "conv_first.weight" not in given:
        raise InputError("the encoder is none of EDSR, RDN and SwinIR under mmediting's names")
    blocks = 1 + max(int(name.split(".")[1]) for name in given if name.startswith("body."))
    args = {"n_resblocks": blocks, "n_feats": len(given["conv_first.bias"]), "no_upsampling": True}
    names = tuple((pattern, ours.replace("{last}", str(blocks))) for pattern, ours in EDSR_NAMES)
    return {"name": "edsr-baseline", "args": args}, _renamed(given, names)


def _renamed(given: Mapping[str, Tensor], names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Parameters under our names; what has none (mmediting's unused tail) is left out."""
    renamed = {}
    for name, value in given.items():
        for pattern, ours in names:
            if re.match(pattern, name):
                renamed[re.sub(f"^{pattern}", ours, name)] = value
    return renamed


def _mlp_arguments(decoder: Mapping[str, Tensor], part: str) -> dict[str, Any]:
    """Sizes of an MLP from its parameters."""
    pattern = re.compile(rf"{part}\.layers\.(\d+)\.weight")
    widths = {int(found[1]): len(value) for name, value in decoder.items() if (found := pattern.fullmatch(name))}
    if not widths:
        raise InputError(f"the checkpoint holds no parameters '{part}.layers.*'")
    *hidden, out = (widths[number] for number in sorted(widths))
    return {"out_dim": out, "hidden_list": hidden}
