"""Encoders: sizes, tails, refusals, RCAN's layers, chunks; what RDN, EDSR and SwinIR compute is in the golden cases."""

import pytest
import torch
from torch import Tensor

import models
from models import encoders
from models.encoders import encode_in_chunks, make_encoder, rdn, swinir
from models.encoders.rcan import ChannelAttention, attention_block
from models.layers.convolution import pad_to_multiple
from tests.golden_cases import assert_close
from utils.errors import InputError

SMALL = {
    "edsr-baseline": {"n_resblocks": 2, "n_feats": 16},
    "rdn": {"G0": 16, "RDNconfig": "tiny", "RDNkSize": 5},
    "rcan": {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 8, "reduction": 4},
    "swinir": {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2), "out_dim": 8},
}


@pytest.fixture(autouse=True)
def tiny_rdn(monkeypatch):
    """An RDN of 2 blocks of a convolution that adds 16 channels: the published ones take seconds to build."""
    monkeypatch.setitem(rdn.CONFIGURATIONS, "tiny", (2, 1, 16))


def small(name: str, **overrides) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.make({"name": name, "args": {**SMALL[name], **overrides}}).eval()


def picture(*size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_what_is_no_encoder_is_refused():
    with pytest.raises(InputError, match="'mlp' is not an encoder; known are: edsr"):
        make_encoder({"name": "mlp", "args": {"in_dim": 3, "out_dim": 3, "hidden_list": []}})


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["rdn", "rcan"])
def test_tails_enlarge_and_have_the_names_of_published_files(name, scale):
    encoder = small(name, scale=scale)
    with torch.inference_mode():
        assert encoder(picture(1, 3, 5, 7)).shape == (1, encoder.out_dim, 5 * scale, 7 * scale)
    assert encoder.out_dim == 3
    tails = {"rdn": ["UPNet.0", "UPNet.2", "UPNet.4"], "rcan": ["tail.0.0", "tail.0.2", "tail.1"]}[name]
    if scale != 4:
        tails.pop(-1 if name == "rdn" else 1)
    names = [n for n in encoder.state_dict() if n.startswith(("UPNet", "tail"))]
    assert names == [f"{tail}.{kind}" for tail in tails for kind in ("weight", "bias")]


def test_rdn_of_configuration_a():
    """B is in the golden cases."""
    shapes = {name: tuple(p.shape) for name, p in small("rdn", RDNconfig="A", RDNkSize=3, G0=8).named_parameters()}
    assert shapes["RDBs.19.convs.5.conv.0.weight"] == (32, 8 + 5 * 32, 3, 3)
    assert shapes["RDBs.19.LFF.weight"] == (8, 8 + 6 * 32, 1, 1)
    assert not {"RDBs.20.LFF.weight", "RDBs.19.convs.6.conv.0.weight"} & shapes.keys()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rdn", {"scale": 5}, "scale 5"),
        ("rdn", {"RDNconfig": "C"}, "unknown RDNconfig 'C'; known are: A, B"),
        ("rdn", {"RDNkSize": 4}, "RDNkSize 4 .* odd"),
        ("swinir", {"no_upsampling": False}, "no upsampling tail"),
        ("swinir", {"depths": (2, 2, 2)}, "3 depths but 2 num_heads"),
        ("swinir", {"num_heads": (2, 5)}, "embed_dim 24 among 5 heads"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(name, arguments, message):
    with pytest.raises(InputError, match=message) as error:
        small(name, **arguments)
    assert "\n" not in str(error.value)


def test_channel_attention_scales_each_channel_by_the_means_of_each_picture():
    torch.manual_seed(0)
    attention = ChannelAttention(6, 2)
    torch.nn.init.ones_(attention.conv_du[0].weight)
    x = picture(1, 6, 4, 5) + 2
    factors = attention(x) / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(x))
    means = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(attention(means) / means, factors[:, :, :1, :1])
    both = torch.cat([x, x + 1])
    torch.testing.assert_close(attention(both)[:1], attention(x))
    assert (attention(both)[1:] / (x + 1) - factors).abs().max() > 1e-3
    logits = torch.linspace(-3, 3, 6)
    torch.nn.init.zeros_(attention.conv_du[2].weight)
    attention.conv_du[2].bias.data = logits
    torch.testing.assert_close(attention(x), x * torch.sigmoid(logits)[:, None, None])


def test_rcan_adds_blocks_groups_and_its_body():
    torch.manual_seed(0)
    x, block = picture(1, 8, 4, 5), attention_block(8, 4)
    torch.testing.assert_close(block(x), x + block.body(x))
    block.body[3].conv_du[2].bias.data.fill_(-100)
    torch.testing.assert_close(block(x), x)
    encoder, image = small("rcan", no_upsampling=True), picture(1, 3, 4, 5)
    with torch.inference_mode():
        shallow = encoder.head(image)
        torch.testing.assert_close(encoder(image), shallow + encoder.body(shallow))


def test_rcan_has_the_names_of_published_files():
    parameters = small("rcan", no_upsampling=True).state_dict()
    assert parameters["body.0.body.0.body.3.conv_du.0.weight"].shape == (2, 8, 1, 1)
    layers = ["head.0", "body.1.body.2", "body.2"]
    layers += [f"body.1.body.1.body.{layer}" for layer in ("0", "2", "3.conv_du.0", "3.conv_du.2")]
    assert {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")} <= set(parameters)
    assert len(parameters) == 2 * (1 + 2 * (2 * 4 + 1) + 1)


def test_swinir_reflects_and_replicates_what_cannot_be_reflected():
    image = picture(1, 3, 3, 1)
    rows = torch.tensor([0, 1, 2, 1, 0, 0, 0, 0])
    assert pad_to_multiple(image, 8).equal(image[:, :, rows].expand(-1, -1, -1, 8))


def test_swinir_in_parts_is_swinir(monkeypatch):
    encoder, image = small("swinir"), picture(2, 3, 21, 30)
    with torch.inference_mode():
        whole = encoder(image)
        monkeypatch.setattr(swinir, "WINDOWS_AT_A_TIME", 5)
        assert_close(encoder(image), whole, 1e-5)


def test_swinir_keeps_derived_buffers_out_of_its_files_but_accepts_them():
    encoder = small("swinir")
    parameters = encoder.state_dict()
    assert set(parameters) == {name for name, _ in encoder.named_parameters()}
    block = "layers.0.residual_group.blocks.1"
    published = {
        **{name: value + 1 for name, value in parameters.items()},
        f"{block}.attn_mask": torch.zeros(36, 64, 64),
        f"{block}.attn.relative_position_index": torch.zeros(64, 64, dtype=torch.long),
    }
    models.load_parameters(encoder, published)
    torch.testing.assert_close(encoder.norm.bias, torch.ones(24))
    assert encoder.layers[0].residual_group.blocks[1].attn.relative_position_index.max() == 15**2 - 1


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", SMALL)
def test_chunks_equal_the_whole(name, monkeypatch, memory_format) -> None:
    encoder = small(name, no_upsampling=True).to(memory_format=memory_format)
    image = torch.rand(2, 3, 41, 9).to(memory_format=memory_format)
    heights = []
    encoder.register_forward_pre_hook(lambda _, inputs: heights.append(inputs[0].shape[2]))
    monkeypatch.setattr(encoders, "CHUNK_REACHES", 0)
    with torch.inference_mode():
        whole = encoder(image)
        assert whole.shape == (2, encoder.out_dim, 41, 9)
        for rows in (1, 30):
            monkeypatch.setattr(encoders, "CHUNK_PIXELS", rows * 2 * 9)
            features = encode_in_chunks(encoder, image)
            assert_close(features, whole, 1e-5)
            assert features.stride() == whole.stride()
    reach = getattr(encoder, "reach", None)
    assert set(heights) == {41} if reach is None else min(heights) == reach + 1
    encode_in_chunks(encoder, image)  # with gradients, as in training
    assert heights[-1] == 41
