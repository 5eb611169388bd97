"""Train one step by each published training config: `python -m tests.published ../shared/published`.

Only the paths of data are set, to small pictures that are made for it. Models and batches are as published; tensors of
the step have no values (see tests/training/test_waiting.py), so that 58 configs take minutes.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from tests.training.test_waiting import prepared
from training import loop
from training.setup import KINDS
from utils.config import check_keys, check_types, load_config
from utils.errors import InputError

PATHS = ("root_path", "root_path_1", "root_path_2", "split_file")


def make_pictures(folder: Path) -> None:
    """Twenty HR pictures of a size that every crop fits into, LR pictures for x2, x3 and x4, faces of the sizes of
    CelebA-HQ, and a list of them."""
    for name, side in {"hr": 256, "X2": 128, "X3": 85, "X4": 64, "32": 32, "64": 64, "128": 128, "256": 256}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.effect_noise((side, side), 60).convert("RGB").save(folder / name / f"{number}.png")
    names = [f"{number}.png" for number in range(20)]
    (folder / "split.json").write_text(json.dumps(dict.fromkeys(("train", "val", "test"), names)))


def settings(config: dict, pictures: Path) -> Iterator[str]:
    """`--set` options that give each path of data its place in `pictures`."""
    for part in ("train_dataset", "val_dataset"):
        arguments = (config.get(part) or {}).get("dataset", {}).get("args", {})
        for key in PATHS:
            if key in arguments:
                name = Path(arguments[key]).name
                place = "split.json" if key == "split_file" else name if (pictures / name).is_dir() else "hr"
                yield f"{part}.dataset.args.{key}={pictures / place}"


def outcome(path: Path, pictures: Path) -> str:
    """`runs`, or the one line that train.py would end with."""
    try:
        config = load_config(path, settings(load_config(path), pictures))
        check_keys(config, {kind.split(".")[0] for kind in KINDS}, str(path))
        check_types(config, KINDS, str(path))
        run, batch = prepared({**config, "num_workers": 0}, torch.device("meta"))
        loop.train_step(run, batch)
    except InputError as error:
        return str(error)
    return "runs"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path)
    parser.add_argument("--only", default="", help="configs with this in their path")
    arguments = parser.parse_args(argv)
    paths = [path for path in sorted(arguments.published.rglob("train*.yaml")) if arguments.only in str(path)]
    with tempfile.TemporaryDirectory() as place:
        make_pictures(Path(place))
        outcomes = {str(path.relative_to(arguments.published)): outcome(path, Path(place)) for path in paths}
    for path, words in outcomes.items():
        print(f"{path}: {words}")
    print(f"{sum(words == 'runs' for words in outcomes.values())} of {len(outcomes)} run")


if __name__ == "__main__":
    main()
