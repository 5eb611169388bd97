"""Checkpoints: round trip, authors' format, refusals."""

import pickle
from pathlib import Path

import pytest
import torch

import models
from models.checkpoints.loading import load_checkpoint, load_upscaler, save_checkpoint
from models.normalization import Normalization
from models.registry import weights_hash
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from utils.errors import InputError


@pytest.mark.parametrize("spec", [SMALL_LMLIIF, SMALL_LIIF], ids=["lmliif", "liif"])
def test_round_trip_gives_the_same_picture(tmp_path, spec) -> None:
    model = models.make(spec).eval()
    save_checkpoint(tmp_path / "m.pth", {"model": {**spec, "sd": model.state_dict()}, "epoch": 3})
    loaded = load_upscaler(tmp_path / "m.pth").model
    inputs = torch.rand(1, 3, 6, 6), torch.rand(1, 20, 2), torch.full((1, 2), 0.1)
    assert torch.allclose(loaded(*inputs), model(*inputs), atol=1e-6)
    assert weights_hash(loaded) == weights_hash(model)
    next(model.parameters()).data[0] += 1
    assert weights_hash(loaded) != weights_hash(model)


def test_normalisation_travels_with_the_checkpoint(tmp_path) -> None:
    norm = {"inp": {"sub": [0.1, 0.2, 0.3], "div": [1.0]}, "gt": {"sub": [0.0], "div": [0.5]}}
    model = models.make(SMALL_LMLIIF)
    content = {"model": {**SMALL_LMLIIF, "sd": model.state_dict()}}
    save_checkpoint(tmp_path / "ours.pth", {**content, "data_norm": norm})
    save_checkpoint(tmp_path / "theirs.pth", content)
    assert load_upscaler(tmp_path / "ours.pth").normalization == Normalization.from_config(norm)
    assert load_upscaler(tmp_path / "theirs.pth", data_norm=norm).normalization == Normalization.from_config(norm)
    assert load_upscaler(tmp_path / "theirs.pth").normalization == Normalization()


def test_normalisation_inverts_itself() -> None:
    norm = Normalization.from_config({"inp": {"sub": [0.1, 0.2, 0.3], "div": [2, 4, 5]}}).inp
    picture = torch.rand(2, 3, 4, 5)
    assert torch.allclose(norm.invert(norm.apply(picture)), picture)
    assert torch.allclose(norm.apply(picture)[:, 1], (picture[:, 1] - 0.2) / 4)
    colours = picture.permute(0, 2, 3, 1)
    assert torch.allclose(norm.apply(colours, channels_last=True).permute(0, 3, 1, 2), norm.apply(picture))


def test_derived_buffers_of_published_files_are_ignored(tmp_path) -> None:
    sd = {**models.make(SMALL_LIIF).state_dict(), "encoder.layers.0.attn_mask": torch.zeros(2)}
    assert models.make({**SMALL_LIIF, "sd": sd}, load_sd=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sd: sd.pop("imnet.layers.0.bias"), ["imnet.layers.0.bias", "lacks"]),
        (lambda sd: sd.update(extra=torch.zeros(1)), ["extra"]),
        (lambda sd: sd.update({"imnet.layers.0.bias": torch.zeros(5)}), ["imnet.layers.0.bias", "(32,)", "(5,)"]),
    ],
)
def test_parameters_that_do_not_fit_are_named(change, words) -> None:
    sd = models.make(SMALL_LIIF).state_dict()
    change(sd)
    with pytest.raises(InputError) as caught:
        models.make({**SMALL_LIIF, "sd": sd}, load_sd=True)
    assert all(word in str(caught.value) for word in words)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_files_that_want_to_run_code_are_refused(tmp_path, save) -> None:
    evil, victim = tmp_path / "evil.pth", tmp_path / "victim"
    if save == "torch":
        torch.save({"model": Malicious(victim)}, evil)
    else:
        evil.write_bytes(pickle.dumps({"model": Malicious(victim)}))
    with pytest.raises(InputError, match=r"evil\.pth"):
        load_checkpoint(evil)
    assert not victim.exists()


@pytest.mark.parametrize("content", [b"", b"just text\n", b"\x80\x04nonsense", b"PK\x03\x04 cut short"])
def test_files_that_are_no_checkpoints(tmp_path, content) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth"):
        load_checkpoint(tmp_path / "x.pth")


def test_unknown_names_get_a_hint(tmp_path) -> None:
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        load_upscaler("bicubik")
    with pytest.raises(InputError, match=r"nothere\.pth"):
        load_upscaler(tmp_path / "nothere.pth")


def test_a_failed_save_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / "m.pth"
    save_checkpoint(path, {"model": {"name": "old"}})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"model": {"name": lambda: None}})
    assert load_checkpoint(path)["model"]["name"] == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]
