"""Checkpoints as .safetensors: what they keep, and what of a hostile one is refused, in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from models.checkpoints.loading import load_checkpoint, load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from models.registry import weights_hash
from tests.conftest import SMALL_LMLIIF
from tests.models.checkpoints.refusing import TOO_LARGE, refusal
from utils.config import merge
from utils.errors import InputError

NORM = {"inp": {"sub": [0.1, 0.2, 0.3], "div": [1.0]}, "gt": {"sub": [0.0], "div": [0.5]}}


@pytest.fixture
def content() -> dict[str, Any]:
    """Everything that a checkpoint of train.py may hold."""
    torch.manual_seed(0)
    model = {**SMALL_LMLIIF, "sd": models.make(SMALL_LMLIIF).state_dict()}
    figures = {"Set5 x2": {"protocol": "lerf", "psnr": 37.3}}
    return {
        "model": model, "data_norm": NORM, "trained_scales": (1.0, 8.0), "figures": figures, "licence": "CC0 \"a\"\n",
        "optimizer": {"sd": {"x": torch.ones(3)}}, "step": 7,
    }  # fmt: skip


@pytest.fixture
def path(tmp_path, content) -> Path:
    save_safetensors(tmp_path / "m.safetensors", content)
    return tmp_path / "m.safetensors"


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a file, and what follows it."""
    stored = path.read_bytes()
    length = int.from_bytes(stored[:8], "little")
    return json.loads(stored[8 : 8 + length]), stored[8 + length :]


def rewrite(path: Path, header: dict[str, Any], values: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


def test_what_people_need_is_kept_and_training_state_is_not(path, content) -> None:
    loaded = load_checkpoint(path)
    expected = {key: value for key, value in content.items() if key not in ("optimizer", "step", "model")}
    assert {key: value for key, value in loaded.items() if key != "model"} == {**expected, "trained_scales": [1.0, 8.0]}
    assert {key: loaded["model"][key] for key in ("name", "args")} == SMALL_LMLIIF
    upscaler = load_upscaler(path)
    assert upscaler.model.trained_scales == (1.0, 8.0)
    assert upscaler.normalization.to_config() == NORM


def test_the_same_picture_and_hash_as_the_pth(tmp_path, path, content) -> None:
    save_checkpoint(tmp_path / "m.pth", content)
    one, other = load_upscaler(tmp_path / "m.pth"), load_upscaler(path)
    picture = torch.rand(3, 6, 7)
    assert torch.equal(one(picture, (13, 20)), other(picture, (13, 20)))
    assert weights_hash(one.model) == weights_hash(other.model)


def test_the_same_content_is_the_same_file(tmp_path, path, content) -> None:
    for number in range(4):  # the library orders metadata by chance
        save_safetensors(tmp_path / f"{number}.safetensors", content)
        assert (tmp_path / f"{number}.safetensors").read_bytes() == path.read_bytes()
    assert len(path.read_bytes()) % 4 == 0


def test_tied_and_strided_parameters_are_written_whole(tmp_path, content) -> None:
    sd = content["model"]["sd"]
    weight = sd["imnet.layers.2.weight"]
    sd["imnet.layers.4.weight"] = weight.T
    save_safetensors(tmp_path / "t.safetensors", content)
    assert torch.equal(load_checkpoint(tmp_path / "t.safetensors")["model"]["sd"]["imnet.layers.4.weight"], weight.T)


def test_values_that_json_does_not_hold(tmp_path, content) -> None:
    for figures in ({"x2": float("nan")}, {"x2": torch.ones(1)}):
        with pytest.raises(InputError, match="'figures'"):
            save_safetensors(tmp_path / "x.safetensors", {**content, "figures": figures})
    assert not (tmp_path / "x.safetensors").exists()


def tensor(**entry: Any) -> Callable[[dict[str, Any]], None]:
    """Changes the description of the first tensor."""
    return lambda header: next(value for key, value in header.items() if key != "__metadata__").update(entry)


def with_text(key: str, text: str) -> Callable[[dict[str, Any]], None]:
    """Changes an entry of the metadata, of which the hash tells nothing any more."""

    def change(header: dict[str, Any]) -> None:
        header["__metadata__"][key] = text
        del header["__metadata__"]["content_hash"]

    return change


def with_model(change: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda header: with_text("model", json.dumps(merge(json.loads(header["__metadata__"]["model"]), change)))(
        header
    )


def with_encoder(**args: Any) -> Callable[[dict[str, Any]], None]:
    return with_model({"args": {"encoder_spec": {"args": args}}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (tensor(shape=[10**12]), "no .safetensors, or damaged"),
        (tensor(data_offsets=[0, 2**63]), "no .safetensors, or damaged"),
        (tensor(dtype="PICKLE"), "no .safetensors, or damaged"),
        (lambda h: h.update(evil={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}), "damaged"),
        (lambda h: h["__metadata__"].update(model=3), "damaged"),
        (lambda h: h.pop("__metadata__"), "spandrel"),
        (lambda h: h["__metadata__"].update(licence="mine"), "another hash"),
        (lambda h: h["__metadata__"].update(added="x"), "another hash"),
        (with_encoder(n_feats=10**8), TOO_LARGE),
        (with_encoder(n_resblocks=10**9), TOO_LARGE),
        (with_text("model", '{"name": "os.system"}'), "unknown model 'os.system'"),
        (with_text("model", json.dumps({"name": "a\nb" * 10**5})), "unknown model"),
        (with_model({"sd": {}}), "expected {name, args}"),
        (with_text("model", "["), "'model' is not JSON"),
        (with_text("model", "[" * 10**5), "'model' is not JSON"),
        (with_text("model", "[1]"), "expected {name, args}"),
        (with_text("model", "{\n" * 1000), "'model' is not JSON"),
        (with_text("data_norm", '{"inp": {"sub": [NaN]}}'), "'data_norm' is not JSON"),
        (with_text("data_norm", "1" * 10**5), "'data_norm' is not JSON"),
        (with_text("trained_scales", "[4, 1]"), "trained_scales"),
        (with_text("trained_scales", "[1, 2, 4]"), "trained_scales"),
    ],
)  # fmt: skip
def test_headers_that_lie(path, change, words) -> None:
    header, values = header_of(path)
    change(header)
    rewrite(path, header, values)
    assert words in refusal(path)
