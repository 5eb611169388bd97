"""Files of the LeRF authors' programs, and what only looks like them."""

import numpy as np
import pytest
import torch

import models
from models.checkpoints.lerf import write_tables
from models.checkpoints.loading import load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from tests.models.checkpoints.refusing import Malicious, refusal
from utils.errors import InputError


def pickled(tmp_path, name: str, **arguments):
    """A file with a whole network in it, as the authors' programs save one."""
    torch.manual_seed(0)
    model = models.make({"name": name, "args": arguments}).eval()
    torch.save(model, tmp_path / "Model_000001.pth")
    return model, tmp_path / "Model_000001.pth"


@pytest.mark.parametrize(
    ("name", "arguments"), [("lerf-l", {"nf": 4}), ("lerf-g", {"nf": 6, "modes": "ct"}), ("lerf-net", {"nf": 8})]
)
def test_pickled_networks_load(tmp_path, name, arguments) -> None:
    model, path = pickled(tmp_path, name, **arguments)
    loaded = load_upscaler(path).model
    assert type(loaded) is type(model)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_published_network_loads(shared) -> None:
    model = load_upscaler(shared / "data/lerf-g/Model_050000.pth").model
    assert sum(parameter.numel() for parameter in model.parameters()) > 300_000


@pytest.mark.parametrize("zipped", [True, False])
def test_networks_that_want_to_run_code_do_not(tmp_path, zipped) -> None:
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    model = models.make({"name": "lerf-l", "args": {"nf": 4}})
    model.extra = Malicious(victim)
    torch.save(model, path, _use_new_zipfile_serialization=zipped)
    if zipped:
        loaded = load_upscaler(path).model  # what is no tensor is left out
        assert torch.equal(loaded.s1_sr0.model.conv1.conv.bias, model.s1_sr0.model.conv1.conv.bias)
    else:
        assert "saved before PyTorch 1.6" in refusal(path)
    assert not victim.exists()


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_luts_of_another_layout_are_refused(tmp_path, name) -> None:
    model = models.make({"name": "lerf-lut", "args": {"kernel": "linear", "modes": "s"}})
    content = {"model": {"name": "lerf-lut", "args": model.arguments(), "sd": dict(model.tables())}}
    save = save_checkpoint if name == "m.pth" else save_safetensors
    for change in ({}, {"interval": 8}, {"kernel": "gauss"}, {"patterns": {"s": [[0, 0], [0, 1], [1, 1], [1, 0]]}}):
        save(tmp_path / name, {**content, "tables": {**model.layout(), **change}})
        if change:
            assert "another layout" in refusal(tmp_path / name)
        else:
            assert load_upscaler(tmp_path / name)


def test_other_pickled_networks_are_refused(tmp_path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "linear.pth")
    assert "no LeRF-L, LeRF-G or LeRF-Net" in refusal(tmp_path / "linear.pth")


@pytest.fixture
def tables(tmp_path):
    """A folder of tables under the authors' names, and the model they are of."""
    model = models.make({"name": "lerf-lut", "args": {"kernel": "gauss", "modes": "sc"}})
    for number, parameter in enumerate(model.parameters()):
        parameter.data.fill_(number)
    write_tables(tmp_path / "tables", model)
    return tmp_path / "tables", model


def test_folders_of_tables_load(tables) -> None:
    folder, model = tables
    assert sorted(path.suffix for path in folder.iterdir()) == [".json"] + [".npy"] * (2 + 4)
    loaded = load_upscaler(folder).model
    assert loaded.modes == "sc"
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_fine_tuned_tables_are_preferred(tables) -> None:
    folder, _ = tables
    for path in list(folder.glob("*.npy")):
        np.save(folder / path.name.replace("LUT_", "LUTft_"), np.full_like(np.load(path), 7))
    assert all(bool((parameter == 7).all()) for parameter in load_upscaler(folder).model.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "LUT_s2_cr1.npy").unlink(), r"LUT_s2_cr1\.npy"),
        (lambda f: (f / "LUT_s1_sr0.npy").write_bytes(b"junk"), r"LUT_s1_sr0\.npy is not a table"),
        (lambda f: np.save(f / "LUT_s1_sr0.npy", np.zeros((83521, 1))), "float64"),
        (lambda f: np.save(f / "LUT_s1_sr0.npy", np.zeros((4913, 1), np.int8)), r"\(4913, 1\); expected \(83521, 1\)"),
        (lambda f: np.save(f / "LUT_s2_sr0.npy", np.zeros((83521, 2), np.int8)), "2 values an entry; expected 1 or 3"),
        (lambda f: np.save(f / "LUT_s1_cr0.npy", np.array([{}], dtype=object)), r"LUT_s1_cr0\.npy is not a table"),
    ],
)
def test_broken_folders_are_explained(tables, change, words) -> None:
    folder, _ = tables
    change(folder)
    with pytest.raises(InputError, match=words) as caught:
        load_upscaler(folder)
    assert "\n" not in str(caught.value)
