"""Checkpoints: round trip, authors' format; those that run code, ask for more than they hold, or were changed."""

import pickle
import re
import zipfile

import pytest
import torch

import models
from models.checkpoints.loading import load_checkpoint, load_upscaler, save_checkpoint
from models.normalization import Normalization
from models.registry import weights_hash
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tests.models.checkpoints.refusing import TOO_LARGE, Malicious, refusal
from utils.config import merge


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


def test_normalisation_travels_with_the_checkpoint_and_inverts_itself(tmp_path) -> None:
    norm = {"inp": {"sub": [0.1, 0.2, 0.3], "div": [2, 4, 5]}, "gt": {"sub": [0.0], "div": [0.5]}}
    expected = Normalization.from_config(norm)
    content = {"model": {**SMALL_LMLIIF, "sd": models.make(SMALL_LMLIIF).state_dict()}}
    save_checkpoint(tmp_path / "ours.pth", {**content, "data_norm": norm})
    save_checkpoint(tmp_path / "theirs.pth", content)
    assert load_upscaler(tmp_path / "ours.pth").normalization == expected
    assert load_upscaler(tmp_path / "theirs.pth", data_norm=norm).normalization == expected
    assert load_upscaler(tmp_path / "theirs.pth").normalization == Normalization()
    affine, picture = expected.inp, torch.rand(2, 3, 4, 5)
    assert torch.allclose(affine.invert(affine.apply(picture)), picture)
    assert torch.allclose(affine.apply(picture)[:, 1], (picture[:, 1] - 0.2) / 4)
    colours = picture.permute(0, 2, 3, 1)
    assert torch.allclose(affine.apply(colours, channels_last=True).permute(0, 3, 1, 2), affine.apply(picture))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
@pytest.mark.parametrize("content", [{"model": Malicious("victim")}, Malicious("victim"), [1, Malicious("victim")]])
def test_files_that_want_to_run_code_are_refused(tmp_path, monkeypatch, content, save) -> None:
    monkeypatch.chdir(tmp_path)
    save(content, tmp_path / "evil.pth")
    refusal(tmp_path / "evil.pth")
    assert not (tmp_path / "victim").exists()


def test_a_failed_save_keeps_the_old_file(tmp_path) -> None:
    path = tmp_path / "m.pth"
    save_checkpoint(path, {"model": {"name": "old"}})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"model": {"name": lambda: None}})
    assert load_checkpoint(path)["model"]["name"] == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]


def small_spec() -> dict:
    """A small LM-LIIF with its parameters, which may be changed."""
    return {**merge(SMALL_LMLIIF, {}), "sd": dict(models.make(SMALL_LMLIIF).state_dict())}


def with_args(part: str, **args):
    """Other arguments of a part of the model."""
    return lambda spec: spec.update(args=merge(spec["args"], {part: {"args": args}}))


def with_parameter(value: torch.Tensor, name: str = "x"):
    return lambda spec: spec["sd"].update({name: value})


def huge_encoder(spec) -> None:
    """An encoder of 4096 features whose parameters all lie at one place."""
    with_args("encoder_spec", n_feats=4096)(spec)
    for name, value in spec["sd"].items():
        shape = tuple({8: 4096, 74: 9 * 4096 + 2}.get(n, n) for n in value.shape)
        spec["sd"][name] = torch.zeros(1).expand(shape)


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
    spec["args"] = {**spec["args"], "local_ensemble": value}


BIAS = "imnet.layers.0.bias"
SWINIR = {"encoder_spec": {"name": "swinir", "args": {"window_size": 10**6}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_args("encoder_spec", n_resblocks=10**9), TOO_LARGE),
        (with_args("encoder_spec", n_feats=10**8), TOO_LARGE),
        (with_args("imnet_spec", hidden_depth=10**12), TOO_LARGE),
        (with_args("imnet_spec", hidden_depth=2**70), "hidden_depth is 11805916"),
        (with_args("hypernet_spec", hidden_list=[9] * 10**4), TOO_LARGE),
        (lambda spec: spec.update(args=merge(spec["args"], SWINIR)), "window_size"),
        (huge_encoder, "larger than what it holds"),
        (nested, "the checkpoint fills|cannot be"),
        (shared_lists, "local_ensemble is \\[\\["),
        (with_parameter(torch.zeros(3).to_sparse()), "'x' is no plain tensor"),
        (with_parameter(torch.zeros(3, device="meta")), "'x' is no plain tensor"),
        (with_parameter(torch.zeros(3, dtype=torch.complex64)), "'x' is no plain tensor"),
        (with_parameter(torch.full((16,), torch.nan), BIAS), f"'{BIAS}' holds NaN"),
        (with_parameter(torch.full((16,), torch.inf), BIAS), f"'{BIAS}' holds NaN or inf"),
        (with_parameter(torch.full((16,), 1e300, dtype=torch.float64), BIAS), f"'{BIAS}' holds NaN or inf"),
        (with_parameter(torch.zeros(1), "extra"), "'extra'"),
        (with_parameter(torch.zeros(5), BIAS), rf"'{BIAS}' .*\(16,\) .*\(5,\)"),
        (lambda spec: spec["sd"].pop(BIAS), f"lacks .*'{BIAS}'"),
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


def test_data_norm_without_values(tmp_path) -> None:
    for data_norm in ({"inp": None}, {"inp": {"sub": None}}, {"inp": {"sub": [float("nan")]}}, [3]):
        torch.save({"model": small_spec(), "data_norm": data_norm}, tmp_path / "m.pth")
        assert "data_norm" in refusal(tmp_path / "m.pth")


def test_content_that_was_changed_behind_its_checksums(tmp_path) -> None:
    save_checkpoint(tmp_path / "m.pth", {"model": small_spec(), "epoch": 3})
    assert load_upscaler(tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "m.pth") as archive:
        entries = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        changed = next(entry for entry in entries if entry.filename.endswith("data/5"))
        for entry, content in entries.items():
            archive.writestr(entry, bytes([content[0] ^ 1]) + content[1:] if entry is changed else content)
    assert "another hash" in refusal(tmp_path / "m.pth")
