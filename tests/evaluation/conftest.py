"""Optional packages of metrics, whose weights tests do not download."""

import sys
from types import SimpleNamespace

import pytest
import torch


class FakeLPIPS(torch.nn.Module):
    """As the package's: takes (1, 3, H, W) in [0, 1] with normalize."""

    def __init__(self, net: str, verbose: bool):
        super().__init__()
        assert (net, verbose) == ("alex", False)

    def forward(self, picture, target, normalize):
        assert normalize
        assert picture.shape == target.shape
        assert picture.dim() == 4
        return (picture - target).abs().mean().reshape(1, 1, 1, 1)


@pytest.fixture
def lpips(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=FakeLPIPS))
