"""Averaging checkpoints: weighted, of one model only, nothing overwritten."""

import pytest
import torch

import models
from models.checkpoints.loading import load_checkpoint, save_checkpoint
from tests.commands import call, mistake
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tools import average


@pytest.fixture
def two(tmp_path):
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.pth"
        content = {
            "model": {**SMALL_LMLIIF, "sd": models.make(SMALL_LMLIIF).state_dict()},
            "trained_scales": [1.0, 8.0],
        }
        save_checkpoint(path, content)
        paths.append(path)
    return paths


def test_weighted_mean(two, tmp_path) -> None:
    output = tmp_path / "m.pth"
    call(average, *two, "--shares", 1, 3, "--output", output)
    one, other, result = (load_checkpoint(path) for path in (*two, output))
    for key, value in result["model"]["sd"].items():
        expected = 0.25 * one["model"]["sd"][key] + 0.75 * other["model"]["sd"][key]
        assert torch.allclose(value, expected, atol=1e-7)
        assert value.dtype == torch.float32
    assert result["trained_scales"] == [1.0, 8.0]
    assert models.load_upscaler(output).model.trained_scales == (1.0, 8.0)


def test_only_checkpoints_of_one_model(two, tmp_path, capsys) -> None:
    other, output = tmp_path / "liif.pth", tmp_path / "m.pth"
    save_checkpoint(other, {"model": {**SMALL_LIIF, "sd": models.make(SMALL_LIIF).state_dict()}})
    assert "liif.pth" in mistake(capsys, average, two[0], other, "--output", output)
    assert "share for each" in mistake(capsys, average, *two, "--shares", 1, "--output", output)
    assert "two models" in mistake(capsys, average, two[0], "--output", output)
    assert not output.exists()
    assert "--overwrite" in mistake(capsys, average, *two, "--output", two[0])


def test_shipped_models_by_their_names(tmp_path) -> None:
    call(average, "s", "s", "--output", tmp_path / "m.pth")
    made, shipped = (models.load_upscaler(model).model for model in (tmp_path / "m.pth", "s"))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), shipped.parameters(), strict=True))
