"""A larger model that starts with what a smaller one has learned: `python -m tools.grow --model S.pth --config M.yaml
--output M-start.pth`, for `train.py --config M.yaml --set init=M-start.pth`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.loading import load_upscaler, make_continuous, save_checkpoint
from models.decoders.lmliif import LMLIIF
from models.encoders.edsr import EDSR
from utils import cli
from utils.config import load_config, require
from utils.errors import InputError
from utils.files import check_new_target
from utils.random_state import seed_everything


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.grow",
        description="Start a wider and deeper LM-LIIF on EDSR as the function that a smaller one has learned.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of the smaller model")
    parser.add_argument("--config", required=True, help="training config of the larger one")
    parser.add_argument("--output", required=True, metavar="FILE", help="checkpoint to write")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the weights that are new")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    target = check_new_target(arguments.output, arguments.overwrite)
    small, config = load_upscaler(arguments.model), load_config(arguments.config)
    spec = require(config, "model", arguments.config)
    seed_everything(arguments.seed)
    large = make_continuous(spec, trained_scales=small.model.trained_scales)
    grow(small.model, large)
    content = {
        "model": {**spec, "sd": large.state_dict()},
        "data_norm": small.normalization.to_config(),
        "trained_scales": list(small.model.trained_scales),
    }
    save_checkpoint(target, content)
    counts = [sum(value.numel() for value in model.parameters()) for model in (small.model, large)]
    print(f"wrote {target}, {counts[0]:,} -> {counts[1]:,} parameters")


@torch.no_grad()
def grow(small: nn.Module, large: nn.Module) -> None:
    """Set the parameters of `large` so that it computes what `small` does; what is new keeps its random weights but
    reaches no old output yet (Chen et al., ICLR 2016, net2net, without copies of units).

    InputError unless both are LM-LIIF on EDSR with equal render MLPs, and `large` is nowhere smaller.
    """
    for model in (small, large):
        if not isinstance(model, LMLIIF) or not isinstance(model.encoder, EDSR):
            raise InputError("tools.grow takes LM-LIIF on EDSR; the model or the config is another")
    if [weight.shape for weight in small.imnet.parameters()] != [weight.shape for weight in large.imnet.parameters()]:
        raise InputError("the render MLPs differ; grow the encoder and the latent MLP")
    old, new = small.encoder, large.encoder
    widths = [model.hypernet.layers[0].out_features for model in (small, large)]
    if len(new.body) < len(old.body) or new.out_dim < old.out_dim or widths[1] < widths[0]:
        raise InputError(
            "the config's networks are smaller; raise n_resblocks, n_feats or the latent MLP's hidden_list"
        )
    embed(old.head[0], new.head[0])
    for block, grown in zip(old.body[:-1], new.body[:-1], strict=False):
        embed(block.body[0], grown.body[0])
        embed(block.body[2], grown.body[2])
    for added in new.body[len(old.body) - 1 : -1]:
        nn.init.zeros_(added.body[2].weight)
        nn.init.zeros_(added.body[2].bias)
    embed(old.body[-1], new.body[-1])
    for layer, grown in zip(small.hypernet.layers[2::2], large.hypernet.layers[2::2], strict=True):
        embed(layer, grown)
    embed_tensor(small.hypernet.layers[0].bias, large.hypernet.layers[0].bias)
    for part, wider in zip(latent_inputs(small), latent_inputs(large), strict=True):
        embed_tensor(part, wider)
    large.imnet.load_state_dict(small.imnet.state_dict())


def latent_inputs(model: LMLIIF) -> list[Tensor]:
    """The latent MLP's first weight: what reads the features, (out, features, 9 or 1), and the cell, views of it."""
    of_features, of_cell = model.hypernet.layers[0].weight.tensor_split([model.latent_dim], dim=1)
    return [of_features.unflatten(1, (model.encoder.out_dim, -1)), of_cell]


def embed(small: nn.Module, large: nn.Module) -> None:
    """Old outputs of a linear layer or convolution read what they did, and nothing of the inputs that are new."""
    embed_tensor(small.weight, large.weight)
    embed_tensor(small.bias, large.bias)


def embed_tensor(small: Tensor, large: Tensor) -> None:
    """`small` into a corner of `large`; zeros where old outputs (the first axis) meet new inputs (the second)."""
    large[: len(small)] = 0
    large[tuple(slice(0, side) for side in small.shape)] = small


if __name__ == "__main__":
    cli.run(main)
