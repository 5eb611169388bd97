"""LeRF networks as look-up tables: `python -m tools.export_lut --model save/my-run/epoch-best.pth --output tables/`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, under the name that LeRF's program has

from models.checkpoints.lerf import write_tables
from models.checkpoints.loading import load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import is_safetensors, save_safetensors
from models.lerf.networks import LeRFNetwork
from models.lerf.tables import LookUpLeRF, tabulated
from models.zoo import LUTS
from utils import cli
from utils.errors import InputError
from utils.files import check_target
from utils.processes import watch


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description="Write the look-up tables (LUTs) of a LeRF-L or LeRF-G in 8 bits, of a network or fine-tuned ones.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of a lerf-l, lerf-g or lerf-lut")
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="folder to write tables.pth to, or one .safetensors"
    )
    parser.add_argument("--npy", action="store_true", help="also write LUT_s1_sr0.npy ..., as the authors' programs do")
    parser.add_argument("--overwrite", action="store_true", help="replace the LUTs in the folder")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    folder = Path(arguments.output)
    single = is_safetensors(folder)
    if single and arguments.npy:
        raise InputError("--npy writes into a folder; name one as --output")
    target = check_target(folder if single else folder / "tables.pth")
    if not arguments.overwrite and (target.exists() or any(folder.glob(LUTS))):
        raise InputError(f"{folder} holds LUTs; name another place, or --overwrite them")
    with watch():
        upscaler = load_upscaler(arguments.model)
        tables = as_tables(upscaler.model, arguments.model)
        save = save_safetensors if single else save_checkpoint
        save(target, content(tables, upscaler.normalization.to_config()))
        if arguments.npy:
            write_tables(folder, tables)
    mebibytes = sum(table.numel() for _, table in tables.tables()) / 2**20
    print(f"wrote {target}{' and LUT_*.npy' if arguments.npy else ''}, {mebibytes:.3f} MiB of LUTs")


def as_tables(model: Any, name: str) -> LookUpLeRF:
    """The LUTs of a LeRF-L or LeRF-G: its own, or those that stand for its networks."""
    if isinstance(model, LookUpLeRF):
        return model
    if isinstance(model, LeRFNetwork):
        return tabulated(model.eval())
    raise InputError(f"{name} is a {type(model).__name__}; LUTs are made from a lerf-l, lerf-g or lerf-lut")


def content(tables: LookUpLeRF, data_norm: Any) -> dict[str, Any]:
    """The content of the file: a checkpoint whose parameters are int8, and the layout of the LUTs."""
    spec = {"name": "lerf-lut", "args": tables.arguments(), "sd": dict(tables.tables())}
    return {"model": spec, "data_norm": data_norm, "tables": tables.layout()}


if __name__ == "__main__":
    cli.run(main)
