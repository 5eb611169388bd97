"""One checkpoint from several of the same model: `python -m tools.average A.pth B.pth --shares 1 2 --output M.pth`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from models.checkpoints.loading import load_content, load_upscaler, save_checkpoint
from models.upscaler import Upscaler
from utils import cli
from utils.errors import InputError
from utils.files import check_new_target


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.average",
        description="Mean of the weights of checkpoints that were trained from one another: between what a model knew "
        "and what it was trained on last, often better than either.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="checkpoints of one model, two or more")
    parser.add_argument("--shares", nargs="+", type=cli.positive, metavar="W", help="of each (default: equal ones)")
    parser.add_argument("--output", required=True, metavar="FILE", help="checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Writes the mean; returns what was written, in words."""
    arguments = parse_arguments(argv)
    names, shares = arguments.models, arguments.shares or [1.0] * len(arguments.models)
    if len(names) < 2 or len(shares) != len(names):
        raise InputError(f"{len(names)} models and {len(shares)} --shares; give two models or more, a share for each")
    target = check_new_target(arguments.output, arguments.overwrite)
    upscalers = [load_upscaler(name) for name in names]
    for name, upscaler in zip(names, upscalers, strict=True):
        if about(upscaler) != about(upscalers[0]):
            raise InputError(f"{name} is another model than {names[0]}; average checkpoints of one model")
    spec, scales = load_content(names[0])["model"], upscalers[0].model.trained_scales
    content = {
        "model": {**spec, "sd": mean([upscaler.model.state_dict() for upscaler in upscalers], shares)},
        "data_norm": upscalers[0].normalization.to_config(),
        "trained_scales": scales and list(scales),
    }
    save_checkpoint(target, content)
    return f"wrote {target}, the mean of {' and '.join(names)}"


def about(upscaler: Upscaler) -> tuple[Any, ...]:
    """Properties that averaged checkpoints share: class, layers, trained scales and normalisation."""
    model = upscaler.model
    layers = {key: value.shape for key, value in model.state_dict().items()}
    return type(model), layers, model.trained_scales, upscaler.normalization


def mean(states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of state dicts with the same keys and shapes, summed in double precision; whole numbers are
    those of the first."""
    total = sum(shares)
    return {
        key: value
        if not value.is_floating_point()
        else sum(s[key].double() * (w / total) for s, w in zip(states, shares, strict=True)).to(value.dtype)
        for key, value in states[0].items()
    }


if __name__ == "__main__":
    cli.run(main)
