"""What is fuzzed: a good file, how it is changed, how it is read, and what reading it may give."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

import models
import test
import train
from models.checkpoints.lerf import write_tables
from models.checkpoints.loading import load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from models.cmsr.tables import load_table
from models.lerf.tables import tabulated
from pictures.reading import read_rgb
from tests.conftest import SMALL_LMLIIF
from tests.fuzz.changes import change_bytes, change_value
from utils.geometry.homographies import read_homography, write_homography


@dataclass(frozen=True)
class Subject:
    """`make` writes good files into the working folder; `change` damages them and says how; `read` returns what is to
    be the same as before the change wherever `exact` says so, and raises what the program would."""

    make: Callable[[], None]
    change: Callable[[Random], str]
    read: Callable[[], Any]
    exact: bool = False


class WrongError(Exception):
    """What was read is not what was written."""


def rendered(path: str) -> bytes:
    """A small picture by the model at `path`; WrongError when it is not finite."""
    upscaler = load_upscaler(path, backend="torch")
    picture = upscaler(torch.linspace(0, 1, 3 * 8 * 9).reshape(3, 8, 9), (11, 13))
    if picture.shape != (1, 3, 11, 13) or not picture.isfinite().all():
        raise WrongError(f"a picture of shape {tuple(picture.shape)}, finite {bool(picture.isfinite().all())}")
    return picture.numpy().tobytes()


def small_model(name: str = "lmliif", **args: Any) -> dict[str, Any]:
    """`{name, args, sd}` of a small model."""
    torch.manual_seed(0)
    spec = SMALL_LMLIIF if name == "lmliif" else {"name": name, "args": args}
    return {**json.loads(json.dumps(spec)), "sd": dict(models.make(spec).state_dict())}


def change_checkpoint(random: Random) -> str:
    """One entry of a checkpoint as other programs write it."""
    content, how, *_ = change_value(torch.load("m.pth", weights_only=True), random)
    torch.save(content, "m.pth")
    return how


def make_network(zipped: bool) -> None:
    torch.manual_seed(0)
    model = models.make({"name": "lerf-l", "args": {"nf": 4, "modes": "s"}}).eval()
    torch.save(model, "m.pth", _use_new_zipfile_serialization=zipped)


def make_mmediting() -> None:
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


def make_tables() -> None:
    torch.manual_seed(0)
    write_tables(Path("tables"), tabulated(models.make({"name": "lerf-l", "args": {"nf": 2, "modes": "s"}})))


def change_tables(random: Random) -> str:
    """A file of a folder damaged, removed, or replaced by another."""
    files = sorted(Path("tables").iterdir())
    file = random.choice(files)
    kind = random.choice(["bytes", "bytes", "remove", "replace"])
    if kind == "bytes":
        return change_bytes(file, random)
    if kind == "remove":
        file.unlink()
        return f"without {file.name}"
    other = random.choice(files)
    file.write_bytes(other.read_bytes())
    return f"{file.name} is {other.name}"


def make_pictures() -> None:
    Path("pictures").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((24, 26), Image.Resampling.BICUBIC).save(f"pictures/{number}.png")


def make_test_config() -> None:
    make_pictures()
    config = {
        "protocol": "rgb", "scales": [2, "1.5x2"], "eval_bsize": 1000, "data_norm": {"inp": {"sub": [0.5]}},
        "datasets": {"Own": {"hr": "pictures", "first_k": 1}},
    }  # fmt: skip
    Path("c.yaml").write_text(yaml.safe_dump(config))


def make_train_config() -> None:
    make_pictures()
    pictures = {"name": "image-folder", "args": {"root_path": "pictures", "repeat": 4, "first_k": 2, "cache": "none"}}
    crops = {"inp_size": 4, "scale_min": 1.5, "scale_max": 3, "sample_q": 16, "augment": True}
    data = {"dataset": pictures, "wrapper": {"name": "sr-implicit-downsampled", "args": crops}, "batch_size": 2}
    config = {
        "train_dataset": data, "val_dataset": data, "model": SMALL_LMLIIF, "epoch_max": 1, "epoch_val": 1,
        "optimizer": {"name": "adam", "args": {"lr": 0.001, "betas": [0.9, 0.99]}}, "eval_type": None, "seed": 3,
        "multi_step_lr": {"milestones": [1, 2], "gamma": 0.5}, "loss": "l1", "precision": "float32",
        "data_norm": {"inp": {"sub": [0.5], "div": [0.5]}, "gt": {"sub": [0.5], "div": [0.5]}}, "num_workers": 0,
    }  # fmt: skip
    Path("c.yaml").write_text(yaml.safe_dump(config))


def change_config(random: Random) -> str:
    """One value or some bytes of a config, or what it extends."""
    path = Path("c.yaml")
    kind = random.choice(["value", "value", "bytes", "extends"])
    if kind == "bytes":
        return change_bytes(path, random)
    if kind == "extends":
        base = random.choice(["/dev/zero", "c.yaml", "a\0b", "nothere.yaml", ".", ["c.yaml"] * 3, 3, None])
        path.write_text(f"extends: {json.dumps(base)}\n" + path.read_text())
        return f"extends {base!r}"
    content, how, where, new = change_value(yaml.safe_load(path.read_text()), random)
    path.write_text(yaml.safe_dump(content))
    Path("changed.json").write_text(json.dumps([list(where), type(new).__name__]))
    return how


TYPED = {"repeat", "inp_size", "sample_q", "augment", "batch_size", "lr", "n_feats", "n_resblocks", "no_upsampling",
         "hidden_dim", "hidden_depth", "lr_skip", "epoch_max", "epoch_val", "gamma", "seed", "num_workers",
         "eval_bsize", "first_k", "scale_min", "scale_max"}  # fmt: skip


def check_types_kept() -> None:
    """WrongError when a number or switch was replaced by what is neither and the program took it."""
    if Path("changed.json").exists():
        where, kind = json.loads(Path("changed.json").read_text())
        if where[-1] in TYPED and kind in ("str", "dict"):
            raise WrongError(f"{'.'.join(map(str, where))} was taken as {kind}")


def read_test_config() -> None:
    test.main(["--config", "c.yaml", "--model", "nearest", "--json", "r.json", "--save-images", "out"])
    check_types_kept()
    outside = [path for path in Path("..").rglob("*x2*") if Path.cwd() not in path.resolve().parents]
    if outside:
        raise WrongError(f"wrote {outside[0]}")


def read_train_config() -> None:
    """A training up to its first step."""

    class StartedError(Exception):
        pass

    def started(*arguments: Any) -> None:
        raise StartedError

    train.train = started
    try:
        train.main(["--config", "c.yaml", "--name", "run", "--device", "cpu"])
    except StartedError:
        check_types_kept()


def make_picture(name: str) -> Callable[[], None]:
    def make() -> None:
        make_pictures()
        Image.open("pictures/0.png").save(name)

    return make


def change_file(name: str) -> Callable[[Random], str]:
    return lambda random: change_bytes(Path(name), random)


def make_homography(name: str) -> Callable[[], None]:
    def make() -> None:
        matrix = np.array([[1.1, 0.1, 3.0], [0.0, 0.9, 2.0], [1e-4, 0.0, 1.0]])
        if name.endswith(".npy"):
            np.save(name, matrix)
        elif name.endswith(".pth"):
            torch.save(torch.from_numpy(matrix), name)
        else:
            Path("source.npy").write_bytes(b"")
            np.save("source.npy", matrix)
            write_homography(name, read_homography("source.npy"))

    return make


def homography(name: str) -> Callable[[], bytes]:
    return lambda: read_homography(name).matrix.numpy().tobytes()


def make_results() -> None:
    make_test_config()
    read_test_config()


def change_results(random: Random) -> str:
    path = Path("r.json")
    if random.random() < 0.3:
        return change_bytes(path, random)
    content, how, *_ = change_value(json.loads(path.read_text()), random)
    path.write_text(json.dumps(content))
    return how


def read_results() -> None:
    try:
        test.main(["--again", "r.json"])
    except SystemExit as ended:
        if ended.code not in (1, 2):
            raise WrongError(f"exit status {ended.code}") from None


def saved(**content: Any) -> Callable[[], None]:
    return lambda: save_checkpoint("m.pth", {"model": small_model(), **content})


def change_safetensors(random: Random) -> str:
    """Some bytes, or an entry of the header or of a description in its metadata, with or without a hash that fits."""
    path = Path("m.safetensors")
    if random.random() < 0.4:
        return change_bytes(path, random)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    if random.random() < 0.5:
        header, how, *_ = change_value(header, random)
    else:
        key = random.choice(["model", "data_norm", "trained_scales", "figures"])
        described, how, *_ = change_value({key: json.loads(header["__metadata__"][key])}, random)
        header["__metadata__"][key] = json.dumps(described.get(key))
        header["__metadata__"].pop("content_hash")
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)
    return how


def make_safetensors() -> None:
    data_norm = {"inp": {"sub": [0.5], "div": [0.5]}}
    content = {"model": small_model(), "data_norm": data_norm, "trained_scales": [1, 4], "figures": {"Set5 x2": 30.1}}
    save_safetensors("m.safetensors", content)


MODEL = "m.pth"
SUBJECTS = {
    "checkpoint": Subject(saved(epoch=3), change_file(MODEL), lambda: rendered(MODEL), exact=True),
    "checkpoint of others": Subject(
        lambda: torch.save({"model": small_model(), "data_norm": {"inp": {"sub": [0.5], "div": [0.5]}}}, MODEL),
        change_checkpoint,
        lambda: rendered(MODEL),
    ),
    "safetensors": Subject(make_safetensors, change_safetensors, lambda: rendered("m.safetensors")),
    "mmediting": Subject(make_mmediting, change_checkpoint, lambda: rendered(MODEL)),
    "network": Subject(lambda: make_network(True), change_file(MODEL), lambda: rendered(MODEL), exact=True),
    "old network": Subject(lambda: make_network(False), change_file(MODEL), lambda: rendered(MODEL)),
    "tables": Subject(make_tables, change_tables, lambda: rendered("tables"), exact=True),
    "test config": Subject(make_test_config, change_config, read_test_config),
    "train config": Subject(make_train_config, change_config, read_train_config),
    "results": Subject(make_results, change_results, read_results),
    "scale table": Subject(
        lambda: Path("t.yaml").write_text(yaml.safe_dump({6: {1: 0.3, 2: 0.4, 6: 1}, 4.5: {1: 0.2, 4.5: 1}})),
        change_file("t.yaml"),
        lambda: load_table("t.yaml").levels_for(5),
    ),
    **{
        f"picture.{ending}": Subject(
            make_picture(f"p.{ending}"),
            change_file(f"p.{ending}"),
            lambda ending=ending: read_rgb(f"p.{ending}").tobytes(),
            exact=ending == "png",
        )
        for ending in ("png", "jpg", "tif", "bmp", "webp", "gif")
    },
    **{
        f"homography.{ending}": Subject(
            make_homography(f"h.{ending}"), change_file(f"h.{ending}"), homography(f"h.{ending}"), exact=ending == "pth"
        )
        for ending in ("txt", "npy", "pth")
    },
}
