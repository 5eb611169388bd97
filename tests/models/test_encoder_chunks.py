"""Large pictures are encoded in row chunks, to the same features."""

import pytest
import torch

import models
from models.encoders import chunks, rdn
from models.encoders.chunks import encode_in_chunks
from tests.golden_cases import assert_close

ENCODERS = {
    "edsr-baseline": {"n_resblocks": 2, "n_feats": 8},
    "rdn": {"G0": 8, "RDNconfig": "tiny", "RDNkSize": 5},
    "rcan": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4},
    "swinir": {"embed_dim": 12, "depths": (2,), "num_heads": (2,), "out_dim": 8},
}


@pytest.fixture(params=ENCODERS)
def encoder(request, monkeypatch) -> torch.nn.Module:
    monkeypatch.setitem(rdn.CONFIGURATIONS, "tiny", (2, 1, 4))
    torch.manual_seed(0)
    return models.make({"name": request.param, "args": ENCODERS[request.param]}, no_upsampling=True).eval()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_chunks_equal_the_whole(encoder, monkeypatch, memory_format) -> None:
    encoder = encoder.to(memory_format=memory_format)
    image = torch.rand(2, 3, 41, 9).to(memory_format=memory_format)
    heights = []
    encoder.register_forward_pre_hook(lambda _, inputs: heights.append(inputs[0].shape[2]))
    monkeypatch.setattr(chunks, "CHUNK_REACHES", 0)
    with torch.inference_mode():
        whole = encoder(image)
        for rows in (1, 7, 40):
            monkeypatch.setattr(chunks, "CHUNK_PIXELS", rows * 2 * 9)
            features = encode_in_chunks(encoder, image)
            assert_close(features, whole, 1e-5)
            assert features.stride() == whole.stride()
    reach = getattr(encoder, "reach", None)
    assert set(heights) == {41} if reach is None else min(heights) == reach + 1


@pytest.mark.parametrize("encoder", ["edsr-baseline", "rdn"], indirect=True)
def test_features_depend_on_all_within_reach_and_on_nothing_else(encoder) -> None:
    reach = encoder.reach
    image = torch.rand(1, 3, 61, 30, requires_grad=True)
    encoder(image)[:, :, 30].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()[:, 0].tolist()
    assert rows == list(range(30 - reach, 30 + reach + 1))


def test_training_sees_whole_pictures(monkeypatch) -> None:
    model = models.make({"name": "edsr-baseline", "args": ENCODERS["edsr-baseline"]}, no_upsampling=True)
    monkeypatch.setattr(chunks, "CHUNK_PIXELS", 1)
    image = torch.rand(1, 3, 200, 4)
    assert torch.equal(encode_in_chunks(model, image), model(image))
