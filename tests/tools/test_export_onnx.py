"""Models as ONNX: onnxruntime gives what PyTorch gives, for every decoder and LeRF network."""

import hashlib
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from models.checkpoints.exported import ENCODE, RENDER
from models.checkpoints.loading import load_upscaler, save_checkpoint
from models.registry import weights_hash
from models.upscaler import Upscaler
from models.zoo import ONNX_NOTE
from tests.commands import call, mistake
from tests.golden_cases import histogram
from tests.models.test_capabilities import SPECS, SWINIR
from tests.registered import DECODERS, small_spec
from tools import export_onnx
from tools.export_onnx import exported
from utils.errors import InputError
from utils.geometry.grids import Grid

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytestmark = pytest.mark.usefixtures("empty_folder")

LMLIIF = small_spec("lmliif")
NETWORKS: dict[str, dict[str, Any]] = {
    **{name: small_spec(name) for name in DECODERS},
    "lmliif on swinir": {**LMLIIF, "args": {**LMLIIF["args"], "encoder_spec": SWINIR}},
    "fixed scale": SPECS["edsr x3"],
    "lerf-l": {"name": "lerf-l", "args": {"nf": 4, "modes": "s", "support": 4}},
    "lerf-g": {"name": "lerf-g", "args": {"nf": 4, "modes": "t"}},
    "lerf-lut": {"name": "lerf-lut", "args": {"modes": "c"}},
    "lerf-net": {"name": "lerf-net", "args": {"nf": 4}},
}
ROUNDED = ("lerf-l", "lerf-g")  # a network's output on the edge of two levels may be either


def made(name: str) -> Upscaler:
    torch.manual_seed(0)
    model = models.make(NETWORKS[name]).eval()
    for parameter in model.parameters():
        if len(parameter) == 17**4:
            parameter.data.uniform_(-100, 100).round_()
    return Upscaler(model, backend="torch")


@cache
def exported_once(name: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What `made(name)` is as files; not to be changed."""
    return exported(made(name))


def write(name: str, folder: str) -> str:
    files, note = exported_once(name)
    Path(folder).mkdir()
    for file, content in files.items():
        Path(folder, file).write_bytes(content)
    Path(folder, ONNX_NOTE).write_text(json.dumps(note))
    return folder


@pytest.fixture
def export() -> str:
    """The folder of a small LM-LIIF."""
    return write("lmliif", "export")


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_gives_what_pytorch_gives(name) -> None:
    """Within 1e-4, for two sizes, batches and scales, one asymmetric and beyond the trained ones; and turned."""
    upscaler, other = made(name), load_upscaler(write(name, "export"))
    for shape, size in (((2, 3, 13, 12), (26, 30)), ((1, 3, 9, 20), (50, 31))):
        pictures = torch.rand(shape)
        expected, found = upscaler(pictures, size), other(pictures, size)
        difference = (expected - found).abs()
        close = (difference < 1e-4).float().mean()
        assert close > 0.98 if name in ROUNDED else close == 1, histogram(difference)
        assert expected.std() > 0.02
    assert (other.tiling, other.scale_range) == (upscaler.tiling, upscaler.scale_range)


def test_the_note_says_how_to_call_it(export) -> None:
    """As other programs would, without anything of this project."""
    import onnxruntime

    note = json.loads(Path(export, ONNX_NOTE).read_text())
    picture, (height, width) = np.random.default_rng(0).random((1, 3, 7, 8), np.float32), (15, 20)
    encode, render = (onnxruntime.InferenceSession(f"{export}/{name}") for name in (ENCODE, RENDER))
    latent = dict(zip(note["latent"], encode.run(note["latent"], {"image": picture}), strict=True))
    rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in (height, width))
    coord = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(1, -1, 2).astype(np.float32)
    inputs = {**latent, "coord": coord, "cell": np.array([[2 / height, 2 / width]], np.float32)}
    (rgb,) = render.run(["rgb"], {name: inputs[name] for name in note["render_inputs"]})
    values = torch.from_numpy(rgb).transpose(1, 2).reshape(1, 3, height, width)
    upscaler = made("lmliif")
    with upscaler.computing():
        expected = upscaler.model.render(upscaler.encode(torch.from_numpy(picture)), Grid.of_size((height, width)))
    assert (values - (expected / 2 + 0.5).clamp(0, 1)).abs().max() < 1e-4
    assert note["opset"] == 16
    assert note["weights_hash"] == weights_hash(upscaler.model)
    assert set(note["calls"]) == {"encode.onnx", "render.onnx", "coord", "cell"}


def test_export_and_demo(checkpoint, pictures, capsys) -> None:
    call(export_onnx, "--model", checkpoint, "--output", "onnx")
    assert "opset 16" in capsys.readouterr().out
    note = json.loads(Path("onnx", ONNX_NOTE).read_text())
    assert note["model"]["name"] == "lmliif"
    for model, output in (("onnx", "a.png"), (checkpoint, "b.png")):
        call(demo, "--input", pictures / "a.png", "--scale", "1.5x2", "--model", model, "--output", output)
        call(demo, "--input", pictures / "a.png", "--rotate", "30", "--model", model, "--output", f"turned-{output}")
    for names in (("a.png", "b.png"), ("turned-a.png", "turned-b.png")):
        one, other = (np.array(Image.open(name)).astype(int) for name in names)
        assert np.abs(one - other).max() <= 1
        assert one.std() > 10
    tilted = ["--input", pictures / "a.png", "--homography", "1,0,0,0,1,0,0.01,0,1", "--model", "onnx"]
    assert "use the checkpoint" in mistake(capsys, demo, *tilted, "--output", "c.png")
    assert "--overwrite" in mistake(capsys, export_onnx, "--model", checkpoint, "--output", "onnx")
    assert "name a checkpoint" in mistake(capsys, export_onnx, "--model", "bicubic", "--output", "x")
    assert "shipped models" in mistake(capsys, export_onnx, "--model", "nothing", "--output", "x")
    assert "is an ONNX export" in mistake(capsys, export_onnx, "--model", "onnx", "--output", "x")
    assert "CMSR needs" in mistake(
        capsys, demo, "--input", pictures / "a.png", "--scale", "8", "--model", "onnx", "--cmsr", "--output", "d.png"
    )
    assert not Path("x").exists()


def test_sides_that_a_graph_cannot_take() -> None:
    other = load_upscaler(write("ciaosr", "export"))
    for size in ((1, 9), (5, 96)):
        with pytest.raises(InputError, match="from 2 to 95 pixels"):
            other.encode(torch.rand(3, *size))
    assert other(torch.rand(3, 2, 95), (4, 100)).shape == (1, 3, 4, 100)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda note: note.update(format="other"), "format"),
        (lambda note: note.update(latent=["x\ny" * 1000]), "render_inputs"),
        (lambda note: note.update(render_inputs=["coord", "../x"]), "render_inputs"),
        (lambda note: note.update(floats_per_query=0), "floats_per_query"),
        (lambda note: note.update(floats_per_query="many"), "floats_per_query"),
        (lambda note: note.update(tiling="maybe"), "tiling"),
        (lambda note: note.update(sha256={}), "is not the file"),
        (lambda note: note.update(extra=1), "extra"),
        (lambda note: note.pop("latent"), "latent"),
    ],
)
def test_notes_that_lie(export, change, words) -> None:
    path = Path(export, ONNX_NOTE)
    note = json.loads(path.read_text())
    change(note)
    path.write_text(json.dumps(note))
    with pytest.raises(ValueError, match=words) as caught:
        load_upscaler(export)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_graph_that_gives_another_number_of_values(export) -> None:
    upscaler = load_upscaler(export)
    whole = upscaler.model.sessions[RENDER]
    shorter = SimpleNamespace(run=lambda *call: [values[:, :-1] for values in whole.run(*call)])
    upscaler.model.sessions[RENDER] = shorter
    with pytest.raises(InputError, match=r"render\.onnx gives \(1, \d+, 3\) at"):
        upscaler(torch.rand(3, 6, 7), (12, 14))


@pytest.mark.parametrize("content", [b"", b"\x08\x07damaged", None])
def test_files_that_are_no_graph(export, content) -> None:
    path = Path(export, RENDER)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        note = json.loads(Path(export, ONNX_NOTE).read_text())
        note["sha256"][RENDER] = hashlib.sha256(content).hexdigest()
        Path(export, ONNX_NOTE).write_text(json.dumps(note))
    with pytest.raises(ValueError, match=r"render\.onnx") as caught:
        load_upscaler(export)
    assert "\n" not in str(caught.value)


def test_a_lut_of_eight_bits(tmp_path) -> None:
    """As files hold them."""
    upscaler = made("lerf-lut")
    content = {"model": {**NETWORKS["lerf-lut"], "sd": dict(upscaler.model.tables())}}
    save_checkpoint("tables.pth", content)
    call(export_onnx, "--model", "tables.pth", "--output", "onnx")
    picture = torch.rand(3, 6, 7)
    assert torch.allclose(load_upscaler("onnx")(picture, (12, 15)), upscaler(picture, (12, 15)), atol=1e-4)
