"""Growing a model: the larger one starts as the same function, and all of it learns."""

import pytest
import torch

from models import load_upscaler, make
from models.checkpoints.loading import save_checkpoint
from tools.grow import grow, main
from utils.errors import InputError


def spec(n_resblocks: int, n_feats: int, hidden: int, width: int = 8) -> dict:
    return {
        "name": "lmliif",
        "args": {
            "encoder_spec": {
                "name": "edsr-baseline",
                "args": {"n_resblocks": n_resblocks, "n_feats": n_feats, "no_upsampling": True},
            },
            "imnet_spec": {"name": "lmmlp", "args": {"hidden_dim": width, "hidden_depth": 2}},
            "hypernet_spec": {"name": "mlp", "args": {"hidden_list": [hidden]}},
        },
    }


def test_a_grown_model_is_the_same_function(tmp_path) -> None:
    torch.manual_seed(0)
    small = make(spec(2, 4, 12))
    start = {"model": {**spec(2, 4, 12), "sd": small.state_dict()}}
    save_checkpoint(tmp_path / "small.pth", start)
    (tmp_path / "large.yaml").write_text(f"model: {spec(4, 10, 20)}")
    output = tmp_path / "large.pth"
    main(["--model", f"{tmp_path}/small.pth", "--config", f"{tmp_path}/large.yaml", "--output", str(output)])
    upscalers = [load_upscaler(tmp_path / name) for name in ("small.pth", "large.pth")]
    image = torch.rand(1, 3, 9, 7)
    one, other = (upscaler.render(upscaler.encode(image), (20, 23)) for upscaler in upscalers)
    assert torch.allclose(one, other, atol=1e-6)
    with pytest.raises(InputError, match="--overwrite"):
        main(["--model", f"{tmp_path}/small.pth", "--config", f"{tmp_path}/large.yaml", "--output", str(output)])


def test_what_is_new_learns() -> None:
    torch.manual_seed(0)
    large = make(spec(4, 10, 20))
    grow(make(spec(2, 4, 12)), large)
    coord = torch.rand(1, 50, 2) * 2 - 1
    large(torch.randn(1, 3, 9, 7), coord, torch.full((1, 2), 0.1)).abs().sum().backward()
    old_on_new = large.encoder.body[0].body[2].weight.grad[:4, 4:]
    assert old_on_new.abs().min() > 0
    assert large.encoder.body[2].body[2].weight.grad.abs().max() > 0


@pytest.mark.parametrize("other", [spec(1, 10, 20), spec(4, 3, 20), spec(4, 10, 6), spec(4, 10, 20, width=16)])
def test_nothing_shrinks(other) -> None:
    with pytest.raises(InputError):
        grow(make(spec(2, 4, 12)), make(other))
