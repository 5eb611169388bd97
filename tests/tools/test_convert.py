"""Checkpoints from one format to the other and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import models
import test as test_program
from models.checkpoints.lerf import write_tables
from models.checkpoints.loading import load_checkpoint, load_upscaler, save_checkpoint
from models.lerf.tables import tabulated
from models.registry import weights_hash
from models.zoo import resolve
from tests.commands import call, mistake
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tests.registered import make_mmediting, make_network, small_spec
from tools import convert

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize("name", ["s", "lerf-l"])
def test_round_trip_of_shipped_models(name, capsys) -> None:
    """.pth -> .safetensors -> .pth: equal weights, specification and hash; a second round gives equal files."""
    for number in (1, 2):
        call(convert, "--model", name if number == 1 else "1.pth", "--output", f"{number}.safetensors")
        call(convert, "--model", f"{number}.safetensors", "--output", f"{number}.pth")
    before, after = load_checkpoint(resolve(name).path), load_checkpoint("1.pth")
    assert [before["model"][key] for key in ("name", "args")] == [after["model"][key] for key in ("name", "args")]
    stored = after["model"]["sd"]
    assert before["model"]["sd"].keys() == stored.keys()
    assert list(stored) == list(load_upscaler(name).model.state_dict())
    for parameter, value in before["model"]["sd"].items():
        assert value.dtype == stored[parameter].dtype
        assert torch.equal(value, stored[parameter])
    hashes = {weights_hash(load_upscaler(model).model) for model in (name, "1.safetensors", "1.pth")}
    assert len(hashes) == 1
    assert capsys.readouterr().out.count(f"weights {hashes.pop()}") == 4
    for ending in ("safetensors", "pth"):
        one, other = (load_checkpoint(f"{number}.{ending}") for number in (1, 2))
        assert {**one, "model": 0} == {**other, "model": 0}
    assert (Path() / "1.safetensors").read_bytes() == (Path() / "2.safetensors").read_bytes()


def of_liif() -> str:
    """As the programs of LIIF, LTE and LMF write it: no hash, with the state of the optimiser."""
    spec = small_spec("lte")
    content = {"model": {**spec, "sd": models.make(spec).state_dict()}, "optimizer": {"sd": {}}, "epoch": 3}
    content["model"]["sd"]["encoder.layers.0.attn_mask"] = torch.zeros(2)
    torch.save(content, "m.pth")
    return "m.pth"


def of_ciaosr() -> str:
    make_mmediting()
    return "m.pth"


def of_lerf() -> str:
    make_network()
    return "m.pth"


def folder_of_lerf() -> str:
    network = models.make({"name": "lerf-g", "args": {"nf": 2, "modes": "s"}})
    Path("tables").mkdir()
    write_tables(Path() / "tables", tabulated(network))
    return "tables"


@pytest.mark.parametrize("make", [of_liif, of_ciaosr, of_lerf, folder_of_lerf])
def test_files_of_other_programs(make) -> None:
    torch.manual_seed(0)
    path = make()
    call(convert, "--model", path, "--output", "out/m.safetensors", "--licence", "CC0")
    one, other = load_upscaler(path), load_upscaler("out/m.safetensors")
    picture = torch.rand(3, 7, 8)
    assert torch.equal(one(picture, (15, 20)), other(picture, (15, 20)))
    assert one.normalization == other.normalization
    assert load_checkpoint("out/m.safetensors")["licence"] == "CC0"


def test_figures_are_those_of_these_weights(pictures, checkpoint, capsys) -> None:
    config = {"protocol": "lerf", "scales": [2, "1.5x2"], "datasets": {"own": {"hr": str(pictures), "first_k": 1}}}
    (Path() / "c.yaml").write_text(json.dumps(config))
    call(test_program, "--config", "c.yaml", "--model", checkpoint, "nearest", "--json", "r.json")
    call(convert, "--model", checkpoint, "--output", "m.safetensors", "--figures", "r.json")
    figures = load_checkpoint("m.safetensors")["figures"]
    assert list(figures) == ["own x2", "own x1.5x2"]
    results = json.loads((Path() / "r.json").read_text())["results"]
    assert figures["own x2"] == {"protocol": "lerf", **results[0]["mean"]["small"]}
    assert figures["own x2"]["psnr"] > 3
    torch.manual_seed(1)
    save_checkpoint("other.pth", {"model": {**SMALL_LMLIIF, "sd": models.make(SMALL_LMLIIF).state_dict()}})
    line = mistake(capsys, convert, "--model", "other.pth", "--output", "o.pth", "--figures", "r.json")
    assert "r.json measures no model with the weights" in line
    assert not (Path() / "o.pth").exists()


def save_small(name: str, spec: dict, seed: int, **about) -> None:
    torch.manual_seed(seed)
    save_checkpoint(name, {"model": {**spec, "sd": models.make(spec).state_dict()}, **about})


def test_weighted_mean_of_checkpoints_of_one_model(capsys) -> None:
    for seed in (0, 1):
        save_small(f"{seed}.pth", SMALL_LMLIIF, seed, trained_scales=[1.0, 8.0])
    save_small("liif.pth", SMALL_LIIF, 0)
    call(convert, "--model", "0.pth", "1.pth", "--shares", 1, 3, "--output", "m.pth")
    one, other, result = (load_checkpoint(path) for path in ("0.pth", "1.pth", "m.pth"))
    for key, value in result["model"]["sd"].items():
        expected = 0.25 * one["model"]["sd"][key] + 0.75 * other["model"]["sd"][key]
        assert torch.allclose(value, expected, atol=1e-7)
        assert value.dtype == torch.float32
    assert load_upscaler("m.pth").model.trained_scales == (1.0, 8.0)
    to = ("--output", "n.pth")
    assert "liif.pth" in mistake(capsys, convert, "--model", "0.pth", "liif.pth", *to)
    assert "share for each" in mistake(capsys, convert, "--model", "0.pth", "1.pth", "--shares", 1, *to)
    assert not Path("n.pth").exists()


def test_mistakes(checkpoint, capsys) -> None:
    assert "a filter" in mistake(capsys, convert, "--model", "bicubic", "--output", "b.pth")
    assert "shipped models" in mistake(capsys, convert, "--model", "nothing", "--output", "b.pth")
    assert ".safetensors" in mistake(capsys, convert, "--model", checkpoint, "--output", "b.onnx")
    np.save("b.npy", np.zeros(3))
    assert "b.npy" in mistake(capsys, convert, "--model", "b.npy", "--output", "b.pth")
    assert not (Path() / "b.pth").exists()
