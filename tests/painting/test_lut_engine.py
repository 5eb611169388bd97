"""demo.py with LUTs gives the same file with the C runtime as with PyTorch, whatever is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import demo
from models.checkpoints.loading import save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from models.zoo import resolve
from painting import lut_engine
from painting.lut_engine import LutEngine, load_tables
from painting.request import request_of
from painting.torch_engine import TorchEngine
from pictures.picture import Picture
from pictures.writing import write_picture
from tests.commands import ROOT, call, mistake
from tests.pictures.making import noise
from tests.runtime.making import shipped

MODEL = "lerf-g"
KINDS = {
    "rgb": ("RGB", 8), "grey": ("L", 8), "rgb-16": ("RGB", 16), "opaque": ("RGBA", 8), "opaque-grey": ("LA", 16),
    "clear": ("RGBA", 8), "cmyk": ("CMYK", 8),
}  # fmt: skip

pytestmark = [
    pytest.mark.usefixtures("empty_folder"),
    pytest.mark.skipif(load_tables(resolve(MODEL)) is None, reason="needs the C library of LUTs, or a compiler"),
]


def make(name: str) -> Path:
    """A 14x9 picture of a kind; smooth, so that no level is far from those around it."""
    channels, depth = KINDS[name]
    dtype = np.uint8 if depth == 8 else np.uint16
    pixels = np.repeat(np.repeat(noise(5, 7, len(channels), dtype=dtype), 2, axis=0), 2, axis=1)[:9]
    if name.startswith("opaque"):
        pixels[..., -1] = np.iinfo(dtype).max
    path = Path(f"{name}.tif" if channels == "CMYK" else f"{name}.png")
    write_picture(path, Picture(pixels, channels))
    return path


def both(monkeypatch, capsys, source: Path, *options: object, ending: str = ".png") -> bool:
    """Run demo.py by the runtime and by PyTorch: what they write and say has to be the same but for the time. Whether
    PyTorch was needed in the first run."""
    made, said, needed = [], [], []

    def spied(*arguments: object) -> object:
        needed.append(True)
        return original(*arguments)

    original = TorchEngine.of
    for way in ("runtime", "torch"):
        with monkeypatch.context() as patch:
            if way == "torch":
                patch.setattr(lut_engine, "load_tables", lambda _: None)
            else:
                patch.setattr(TorchEngine, "of", spied)
            capsys.readouterr()
            call(demo, "--input", source, "--output", f"{way}{ending}", "--model", MODEL, "--overwrite", *options)
            words = [word for word in capsys.readouterr().out.split() if way not in word]
            said.append([word for word in words if not word.replace(".", "").isdecimal()])
            made.append(Path(f"{way}{ending}").read_bytes())
    assert made[0] == made[1]
    assert said[0] == said[1]
    return bool(needed)


LARGER = [
    ("--scale", 2), ("--scale", "3x1.5"), ("--size", "14x30"), ("--fill", "30x40"), ("--megapixels", "0.001"),
    ("--scale", 5, "--crop", "3,4,20,9"), ("--scale", 2, "--depth", 16), ("--scale", 2, "--depth", 8),
]  # fmt: skip
OF_PYTORCH = [
    ("--scale", 1), ("--scale", 0.5), ("--scale", "2x0.9"), ("--rotate", 10), ("--homography", "2,0,0,0,2,0,0,0,1"),
    ("--scale", 2, "--ensemble"), ("--scale", 2, "--fast", "False"),
]  # fmt: skip


@pytest.mark.parametrize("options", [*LARGER, *OF_PYTORCH], ids=lambda options: " ".join(map(str, options)))
def test_pytorch_does_what_the_runtime_does_not(monkeypatch, capsys, options) -> None:
    for name in [*KINDS][: 5 if options in LARGER else 1]:
        assert both(monkeypatch, capsys, make(name), *options) == (options in OF_PYTORCH)


def test_other_kinds_and_formats(monkeypatch, capsys) -> None:
    assert both(monkeypatch, capsys, make("cmyk"), "--scale", 2, ending=".tif")
    assert both(monkeypatch, capsys, make("clear"), "--scale", 2)
    assert not both(monkeypatch, capsys, make("opaque-grey"), "--scale", 2, ending=".jpg")
    assert not both(monkeypatch, capsys, make("opaque-grey"), "--scale", 2, ending=".webp")  # RGBA, of 8 bits
    call(demo, "--input", "clear.png", "opaque-grey.png", "--output", "out", "--model", MODEL, "--scale", 2)
    assert "wrote 2 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"), [(("--scale", 2, "--crop", "20,0,20,2"), "is not within"), (("--scale", 1e6), "not possible")]
)
def test_mistakes_are_those_of_pytorch(capsys, options, words) -> None:
    common = ("--input", make("rgb"), "--output", "o.png", "--model", MODEL, *options)
    said = [mistake(capsys, demo, *common, "--backend", way) for way in ("auto", "torch")]
    assert said[0] == said[1]
    assert words in said[0]
    assert not Path("o.png").exists()


def test_files_that_are_not_as_exported_are_pytorchs(capsys) -> None:
    """Changed since, of another range, no LUTs; and LUTs in a file of their own are read."""
    source, spec = make("rgb"), shipped("lerf-l")
    content = {"model": {**spec, "sd": {name: torch.from_numpy(lut.copy()) for name, lut in spec["sd"].items()}}}
    save_safetensors("l.safetensors", content)
    save_checkpoint("m.pth", content)
    assert load_tables("l.safetensors") is not None
    changed = bytearray(Path("l.safetensors").read_bytes())
    changed[-1] ^= 1
    Path("changed.safetensors").write_bytes(changed)
    said = mistake(capsys, demo, "--input", source, "--scale", 2, "--model", "changed.safetensors")
    assert "another hash" in said
    half = {"sub": [0.5], "div": [0.5]}
    save_safetensors("half.safetensors", {**content, "data_norm": {"inp": half, "gt": half}})
    save_safetensors("kernel.safetensors", {"model": {**content["model"], "args": {"kernel": 3}}})
    for other in ("changed.safetensors", "half.safetensors", "kernel.safetensors", "m.pth", "s", "bicubic", source):
        assert load_tables(other) is None


def test_a_fault_of_the_engine_is_not_hidden(monkeypatch) -> None:
    def fails() -> Path:
        raise RuntimeError("fault")

    monkeypatch.setattr(lut_engine, "find_library", fails)
    with pytest.raises(RuntimeError):
        load_tables(MODEL)


def test_torch_is_never_imported() -> None:
    code = "import sys, demo; demo.main(sys.argv[1:]);print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "--input", make("rgb"), "--model", MODEL, "--scale", "2"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_who_paints() -> None:
    source = make("rgb")

    def engine(*options: str) -> LutEngine | None:
        words = ["--input", str(source), "--scale", "2", "--model", str(MODEL), *options]
        return LutEngine.of(request_of(demo.parse_arguments(words)))

    assert engine("--threads", "3").threads == 3
    assert engine("--device", "cpu", "--backend", "native") is not None
    assert engine("--model", "lerf-l") is not None  # a short name
    assert engine("--model", "s") is None
    for options in (["--backend", "torch"], ["--device", "cuda"], ["--gpu", "0"], ["--compare"], ["--cmsr"]):
        assert engine(*options) is None
