"""RDN, RCAN and SwinIR: sizes, tails, what their special layers compute, and how SwinIR treats any size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import models
from models.encoders import make_encoder, rdn, swinir
from models.encoders.rcan import ChannelAttention, attention_block
from models.registry import registry
from utils.errors import InputError

SMALL = {
    "rdn": {"G0": 8, "RDNconfig": "tiny"},
    "rcan": {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 8, "reduction": 4},
    "swinir": {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2), "out_dim": 8},
}


@pytest.fixture(autouse=True)
def tiny_rdn(monkeypatch):
    """An RDN of 3 blocks of 2 convolutions that add 4 channels: the published ones take seconds to build."""
    monkeypatch.setitem(rdn.CONFIGURATIONS, "tiny", (3, 2, 4))


def small(name: str, **overrides) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.make({"name": name, "args": {**SMALL[name], **overrides}}).eval()


def picture(*size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", SMALL)
def test_without_tail_features_have_the_size_of_the_picture(name):
    encoder = small(name, no_upsampling=True)
    with torch.inference_mode():
        features = encoder(picture(2, 3, 9, 14))
    assert features.shape == (2, 8, 9, 14)
    assert encoder.out_dim == 8
    assert features.std() > 0


@pytest.mark.parametrize(
    ("module", "message"), [("models.encoders.toy", "'toy' lacks .*'upsamples'"), ("toy", "not an")]
)
def test_an_encoder_is_told_which_attribute_it_lacks(monkeypatch, module, message):
    toy = type("Toy", (torch.nn.Module,), {"__module__": module, "out_dim": 3})
    monkeypatch.setitem(registry.factories, "toy", toy)
    with pytest.raises(InputError, match=message):
        make_encoder({"name": "toy"})


@pytest.mark.parametrize("name", ["rdn", "rcan"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tail_enlarges_the_picture(name, scale):
    encoder = small(name, scale=scale)
    with torch.inference_mode():
        assert encoder(picture(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)
    assert encoder.out_dim == 3


@pytest.mark.parametrize(("name", "tail"), [("rdn", "UPNet"), ("rcan", "tail")])
def test_tails_have_the_names_of_published_files(name, tail):
    expected = {
        "UPNet": {2: ["UPNet.0", "UPNet.2"], 3: ["UPNet.0", "UPNet.2"], 4: ["UPNet.0", "UPNet.2", "UPNet.4"]},
        "tail": {2: ["tail.0.0", "tail.1"], 3: ["tail.0.0", "tail.1"], 4: ["tail.0.0", "tail.0.2", "tail.1"]},
    }
    for scale, names in expected[tail].items():
        parameters = [n for n in small(name, scale=scale).state_dict() if n.startswith(tail)]
        assert parameters == [f"{n}.{kind}" for n in names for kind in ("weight", "bias")]


def test_a_tail_of_another_scale_is_refused():
    with pytest.raises(InputError, match="scale 5"):
        small("rdn", scale=5)


@pytest.mark.parametrize(("config", "blocks", "layers", "growth"), [("A", 20, 6, 32), ("B", 16, 8, 64)])
def test_rdn_configurations(config, blocks, layers, growth):
    shapes = {name: tuple(p.shape) for name, p in small("rdn", RDNconfig=config).named_parameters()}
    last = f"RDBs.{blocks - 1}"
    assert shapes[f"{last}.convs.{layers - 1}.conv.0.weight"] == (growth, 8 + (layers - 1) * growth, 3, 3)
    assert shapes[f"{last}.LFF.weight"] == (8, 8 + layers * growth, 1, 1)
    assert shapes["GFF.0.weight"] == (8, blocks * 8, 1, 1)
    assert shapes["UPNet.0.weight"] == (growth * 4, 8, 3, 3)
    assert f"RDBs.{blocks}.LFF.weight" not in shapes
    assert f"{last}.convs.{layers}.conv.0.weight" not in shapes


def test_rdn_fuses_the_outputs_of_all_blocks_in_order():
    encoder = small("rdn", no_upsampling=True)
    with torch.inference_mode():
        shallow = encoder.SFENet1(picture(2, 3, 6, 5))
        outputs = [encoder.SFENet2(shallow)]
        for block in encoder.RDBs:
            dense = [outputs[-1]]
            for layer in block.convs:
                dense.append(F.relu(layer.conv[0](torch.cat(dense, 1))))
            outputs.append(outputs[-1] + block.LFF(torch.cat(dense, 1)))
        expected = shallow + encoder.GFF(torch.cat(outputs[1:], 1))
        torch.testing.assert_close(encoder(picture(2, 3, 6, 5)), expected, atol=1e-5, rtol=0)


def test_rdn_keeps_the_size_with_larger_kernels():
    with torch.inference_mode():
        assert small("rdn", RDNkSize=5, no_upsampling=True)(picture(1, 3, 4, 6)).shape == (1, 8, 4, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"RDNconfig": "C"}, "unknown RDNconfig 'C'; known are: A, B"), ({"RDNkSize": 4}, "RDNkSize 4 .* odd")],
)
def test_impossible_rdn_is_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        small("rdn", **arguments)
    assert "\n" not in str(error.value)


def test_channel_attention_scales_each_channel():
    attention = ChannelAttention(6, 2)
    logits = torch.linspace(-3, 3, 6)
    torch.nn.init.zeros_(attention.conv_du[2].weight)
    attention.conv_du[2].bias.data = logits
    x = picture(2, 6, 4, 5)
    torch.testing.assert_close(attention(x), x * torch.sigmoid(logits)[:, None, None])


def test_channel_attention_looks_at_the_means_of_each_picture():
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


def test_rcan_blocks_add_what_the_attention_lets_through():
    torch.manual_seed(0)
    x = picture(1, 8, 4, 5)
    block = attention_block(8, 4)
    torch.testing.assert_close(block(x), x + block.body(x))
    assert (block(x) - x).abs().max() > 1e-3
    block.body[3].conv_du[2].bias.data.fill_(-100)
    torch.testing.assert_close(block(x), x)


def test_rcan_adds_its_body_to_the_shallow_features():
    encoder = small("rcan", no_upsampling=True)
    image = picture(1, 3, 4, 5)
    with torch.inference_mode():
        shallow = encoder.head(image)
        torch.testing.assert_close(encoder(image), shallow + encoder.body(shallow))


def test_rcan_has_the_names_of_published_files():
    parameters = small("rcan", no_upsampling=True).state_dict()
    assert parameters["body.0.body.0.body.3.conv_du.0.weight"].shape == (2, 8, 1, 1)
    names = set(parameters)
    layers = ["head.0", "body.1.body.2", "body.2"]
    layers += [f"body.1.body.1.body.{layer}" for layer in ("0", "2", "3.conv_du.0", "3.conv_du.2")]
    assert {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")} <= names
    assert len(names) == 2 * (1 + 2 * (2 * 4 + 1) + 1)


@pytest.mark.parametrize("size", [(17, 23), (8, 8), (5, 40), (1, 1), (3, 100)])
def test_swinir_takes_any_size(size):
    encoder = small("swinir")
    with torch.inference_mode():
        features = encoder(picture(2, 3, *size))
    assert features.shape == (2, 8, *size)
    assert features.isfinite().all()


@pytest.mark.parametrize(("size", "pads"), [((17, 23), (0, 1, 0, 7)), ((5, 40), (0, 0, 0, 3)), ((8, 8), (0, 0, 0, 0))])
def test_swinir_reflects_below_and_to_the_right(size, pads):
    encoder = small("swinir")
    image = picture(1, 3, *size)
    with torch.inference_mode():
        by_hand = encoder(F.pad(image, pads, mode="reflect"))[:, :, : size[0], : size[1]]
        torch.testing.assert_close(encoder(image), by_hand)


def test_swinir_replicates_what_cannot_be_reflected():
    image = picture(1, 3, 3, 1)
    rows = torch.tensor([0, 1, 2, 1, 0, 0, 0, 0])
    assert swinir.pad_to_windows(image, 8).equal(image[:, :, rows].expand(-1, -1, -1, 8))


@pytest.mark.parametrize("shift", [0, 2])
def test_swin_block_attends_to_the_neighbours_within_its_window(shift, monkeypatch):
    """Against attention of all pixels to all, pairs in different windows of the unrolled map excluded."""
    monkeypatch.setattr(swinir, "WINDOWS_AT_A_TIME", 5)
    torch.manual_seed(0)
    window, heads, channels, height, width = 4, 2, 8, 8, 12
    block = swinir.SwinBlock(channels, window, heads, 2, shift)
    table = torch.nn.init.normal_(block.attn.relative_position_bias_table)
    x = picture(2, height, width, channels)

    y, x_ = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    position = torch.stack([y, x_], -1).flatten(0, 1)
    home = (position - shift).div(window, rounding_mode="floor")
    same = (home[:, None] == home).all(-1)
    distance = (position[:, None] - position).clamp(1 - window, window - 1) + window - 1
    bias = table[distance[..., 0] * (2 * window - 1) + distance[..., 1]].permute(2, 0, 1)

    pixels = x.flatten(1, 2)
    query, key, value = block.attn.qkv(block.norm1(pixels)).chunk(3, dim=-1)
    attended = []
    for head, columns in enumerate(torch.arange(channels).chunk(heads)):
        logits = query[..., columns] @ key[..., columns].mT / len(columns) ** 0.5 + bias[head]
        attended.append(logits.masked_fill(~same, -torch.inf).softmax(-1) @ value[..., columns])
    expected = pixels + block.attn.proj(torch.cat(attended, -1))
    expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(block(x), expected.unflatten(1, (height, width)), atol=1e-5, rtol=0)


def test_swinir_shifts_every_second_block_by_half_a_window():
    group = small("swinir", depths=(4,), num_heads=(2,)).layers[0]
    assert [block.shift for block in group.residual_group.blocks] == [0, 4, 0, 4]


def test_swinir_ends_with_a_leaky_relu():
    encoder = small("swinir")
    before = []
    encoder.conv_before_upsample[0].register_forward_hook(lambda module, given, output: before.append(output.clone()))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(picture(1, 3, 8, 8)), F.leaky_relu(before[0], 0.01))
    assert (before[0] < 0).any()


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


def test_swinir_learns_everything():
    encoder = small("swinir").train()
    encoder(picture(1, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"no_upsampling": False}, "no upsampling tail"),
        ({"depths": (2, 2, 2)}, "3 depths but 2 num_heads"),
        ({"num_heads": (2, 5)}, "embed_dim 24 among 5 heads"),
    ],
)
def test_impossible_swinir_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        small("swinir", **arguments)
