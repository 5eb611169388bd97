"""The short names of shipped weights."""

from pathlib import Path

import pytest

from models import load_upscaler, names, zoo
from models.checkpoints.loading import save_checkpoint
from models.zoo import ModelFile
from tests.commands import ROOT
from utils.errors import InputError

EMPTY = (2).to_bytes(8, "little") + b"{}"  # a .safetensors file without tensors


@pytest.mark.parametrize("name", zoo.zoo())
def test_every_entry_is_there_as_listed_and_loads(name, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert zoo.resolve(name).path.is_relative_to(ROOT / "save/pretrained_models")
    assert load_upscaler(name).model
    assert name not in names("resampling")


def test_a_name_is_no_file_and_a_file_is_no_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("s", "bicubic"):
        (tmp_path / name).mkdir()
    save_checkpoint("s/m.pth", {})
    assert zoo.resolve("s").path != Path("s/m.pth")
    assert zoo.resolve("./s") == zoo.resolve(Path("s")) == ModelFile(Path("s/m.pth"), "checkpoint", "m")
    assert zoo.resolve("bicubic") == ModelFile(None, "filter", "bicubic")
    assert zoo.resolve(zoo.resolve("s")) == zoo.resolve("s")


def test_folders(tmp_path) -> None:
    for folder, *files in (
        ("onnx", "continua.json", "a.pth"), ("luts", "LUT_s1_sr0.npy"),
        ("both", "LUT_s1_sr0.npy", "tables.pth", "b.pth"),
        ("pair", "a.pth", "a.safetensors"), ("two", "a.pth", "b.pth"), ("none", "a.npy"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).write_bytes(EMPTY)
    found = {name: zoo.resolve(tmp_path / name) for name in ("onnx", "luts", "both", "pair")}
    assert {name: file.kind for name, file in found.items()} == {
        "onnx": "onnx", "luts": "luts", "both": "checkpoint", "pair": "checkpoint"
    }  # fmt: skip
    assert [found[name].path.name for name in ("both", "pair")] == ["tables.pth", "a.safetensors"]
    assert found["both"].label == "both"
    for name, count in (("two", 2), ("none", 0)):
        with pytest.raises(InputError, match=f"holds {count} checkpoints"):
            zoo.resolve(tmp_path / name)


def test_a_name_of_before_finds_the_safetensors(tmp_path) -> None:
    (tmp_path / "m.safetensors").write_bytes(EMPTY)
    for name in ("m.pth", "m"):
        assert zoo.resolve(tmp_path / name).path == tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=r"no checkpoint \S*n\.pth"):
        zoo.resolve(tmp_path / "n.pth")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"'xyz'; shipped models: {', '.join(zoo.zoo())}; filters: bicubic"):
        load_upscaler("xyz")
    with pytest.raises(InputError, match="did you mean 'lerf-g'"):
        load_upscaler("lerfg")


def test_a_file_that_is_another_is_not_taken(tmp_path, monkeypatch) -> None:
    entry = "a:\n  file: {}\n  sha256: '{}'\n  bytes: {}\n  label: a\n  about: a\n"
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "zoo.yaml")
    monkeypatch.setattr(zoo, "PROJECT", tmp_path)
    (tmp_path / "a.pth").write_bytes(b"abc")
    for content, words in (("a.pth", "is not the file"), ("b.pth", "is not there")):
        (tmp_path / "zoo.yaml").write_text(entry.format(content, "0" * 64, 3))
        zoo.zoo.cache_clear()
        with pytest.raises(InputError, match=words):
            zoo.resolve("a")
    for broken, words in (("a: [1", "not YAML"), ("a: 3", "a is 3; expected a mapping"), ("a: {file: x}", "'sha256'")):
        (tmp_path / "zoo.yaml").write_text(broken)
        zoo.zoo.cache_clear()
        with pytest.raises(InputError, match=words) as caught:
            zoo.resolve("a")
        assert "zoo.yaml" in str(caught.value)
    zoo.zoo.cache_clear()
