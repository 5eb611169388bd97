"""Checkpoints that ask for more than they hold, were changed, or are no model: one line, and no memory spent."""

import re
import resource
import zipfile
from pathlib import Path

import pytest
import torch

import models
from models.checkpoints.loading import load_upscaler, save_checkpoint
from tests.conftest import SMALL_LMLIIF
from utils.errors import InputError


def small_spec() -> dict:
    """A small LM-LIIF with its parameters; its parts may be changed."""
    spec = models.make(SMALL_LMLIIF)
    args = {key: {**value, "args": dict(value["args"])} if isinstance(value, dict) else value for key, value in
            SMALL_LMLIIF["args"].items()}  # fmt: skip
    return {"name": "lmliif", "args": args, "sd": dict(spec.state_dict())}


def refusal(path: Path) -> str:
    """The one line with which a checkpoint is refused; less than 200 MB are taken for that."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        load_upscaler(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    return message


def with_encoder(**args):
    return lambda spec: spec["args"]["encoder_spec"]["args"].update(args)


def one_value(shape) -> torch.Tensor:
    """A tensor of any shape that takes four bytes."""
    return torch.zeros(1).expand(shape)


def huge_encoder(spec) -> None:
    """An encoder of 4096 features whose parameters all lie at one place."""
    with_encoder(n_feats=4096)(spec)
    for name, value in spec["sd"].items():
        shape = tuple(4096 if n == 8 else n for n in value.shape)
        spec["sd"][name] = one_value(tuple(9 * 4096 + 2 if n == 74 else n for n in shape))


def nested(spec) -> None:
    for _ in range(150):
        inner = dict(spec)
        spec.clear()
        spec.update({"name": "lerf-net-plus", "args": {"upsampler_spec": inner}, "sd": {}})


def shared_lists(spec) -> None:
    """A list that holds itself 2**60 times."""
    value = [1]
    for _ in range(60):
        value = [value, value]
    spec["args"]["local_ensemble"] = value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_encoder(n_resblocks=10**9), "than the checkpoint fills"),
        (with_encoder(n_feats=10**8), "than the checkpoint fills"),
        (lambda spec: spec["args"]["imnet_spec"]["args"].update(hidden_depth=10**12), "than the checkpoint fills"),
        (lambda spec: spec["args"]["imnet_spec"]["args"].update(hidden_depth=2**70), "hidden_depth is 11805916"),
        (
            lambda spec: spec["args"]["hypernet_spec"]["args"].update(hidden_list=[9] * 10**6),
            "than the checkpoint fills",
        ),
        (
            lambda spec: spec["args"].update(encoder_spec={"name": "swinir", "args": {"window_size": 10**6}}),
            "window_size",
        ),
        (huge_encoder, "larger than what it holds"),
        (nested, "the checkpoint fills|cannot be"),
        (shared_lists, "local_ensemble is \\[\\["),
        (lambda spec: spec["sd"].update(x=torch.zeros(3).to_sparse()), "'x' is no plain tensor"),
        (lambda spec: spec["sd"].update(x=torch.zeros(3, device="meta")), "'x' is no plain tensor"),
        (lambda spec: spec["sd"].update(x=torch.zeros(3, dtype=torch.complex64)), "'x' is no plain tensor"),
        (lambda spec: spec["sd"]["imnet.layers.0.bias"].fill_(float("nan")), "'imnet.layers.0.bias' holds NaN"),
        (lambda spec: spec["sd"]["imnet.layers.0.bias"].fill_(float("inf")), "'imnet.layers.0.bias' holds NaN or inf"),
        (
            lambda spec: spec["sd"].update({"imnet.layers.0.bias": torch.full((16,), 1e300, dtype=torch.float64)}),
            "'imnet.layers.0.bias' holds NaN or inf",
        ),
        (lambda spec: spec.update(sd=[3]), "no mapping of parameter names"),
        (lambda spec: spec.update(name=["lmliif"]), "unknown model \\['lmliif'\\]"),
        (lambda spec: spec.update(name="x" * 100_000), "unknown model 'xxx"),
        (lambda spec: spec.update(args=None), "needs the argument"),
    ],
)
def test_checkpoints_that_describe_what_they_do_not_hold(tmp_path, change, words) -> None:
    spec = small_spec()
    change(spec)
    torch.save({"model": spec}, tmp_path / "m.pth")
    assert re.search(words, refusal(tmp_path / "m.pth"))


def test_mmediting_block_of_any_number(tmp_path) -> None:
    names = ["conv_first.weight", "conv_first.bias", "body.99999999999.conv1.weight"]
    stored = {f"generator.{name}": torch.zeros(3) for name in names}
    for part in ("imnet_q", "imnet_k", "imnet_v"):
        stored[f"generator.{part}.layers.0.weight"] = torch.zeros(3, 3)
    torch.save({"state_dict": stored}, tmp_path / "m.pth")
    assert "than the checkpoint fills" in refusal(tmp_path / "m.pth")


def test_data_norm_without_values(tmp_path) -> None:
    for data_norm in ({"inp": None}, {"inp": {"sub": None}}, {"inp": {"sub": [float("nan")]}}, [3]):
        torch.save({"model": small_spec(), "data_norm": data_norm}, tmp_path / "m.pth")
        assert "data_norm" in refusal(tmp_path / "m.pth")


def test_content_that_was_changed_behind_its_checksums(tmp_path) -> None:
    spec = small_spec()
    save_checkpoint(tmp_path / "m.pth", {"model": spec, "epoch": 3})
    assert load_upscaler(tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "m.pth") as archive:
        entries = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        changed = next(entry for entry in entries if entry.filename.endswith("data/5"))
        for entry, content in entries.items():
            archive.writestr(entry, bytes([content[0] ^ 1]) + content[1:] if entry is changed else content)
    assert "another hash" in refusal(tmp_path / "m.pth")
