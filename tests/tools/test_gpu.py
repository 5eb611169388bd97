"""`python -m tools.bench gpu` without a GPU: costs by arithmetic, kernels compiled ahead, and its measurement, run on
the CPU by Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.native import fused
from tests.conftest import SMALL_LMLIIF
from tools.bench import gpu
from utils.files import PROJECT

pytest.importorskip("triton")

SMALL, LTE = gpu.MODELS[0], gpu.MODELS[2]
# Registers and machine instructions when the kernels were last changed, by Triton 3.8: what rises has a reason
PAINT, GRADIENTS, LUTS = ("paint", SMALL), ("gradients", SMALL), ("lut_stage", "lerf-g")
MOST = [
    ("A100", {PAINT: (104, 2100), LUTS: (40, 930), ("resample", "lerf-g"): (32, 730)}),
    pytest.param("A100", {("paint", LTE): (106, 3080), GRADIENTS: (240, 4060)}, marks=pytest.mark.thorough),
    pytest.param("RTX 3090", {PAINT: (104, 2100), GRADIENTS: (240, 4060), LUTS: (40, 930)}, marks=pytest.mark.thorough),
    pytest.param("RTX 4090", {PAINT: (104, 2100)}, marks=pytest.mark.thorough),
    pytest.param("H200", {PAINT: (108, 2120), GRADIENTS: (172, 3420)}, marks=pytest.mark.thorough),
]
SHARED_LIMIT = 99 << 10  # bytes of a program on the card that has least


def test_costs() -> None:
    """Of model `s` at 4K: its render is one kernel and the joining of its parameters, within 3 ms of an H200."""
    table = gpu.dry_table(["H200"], [SMALL])
    fused_cost, plain = (table[f"edsr-s-lmliif 4K render, {way}"] for way in ("Triton", "PyTorch"))
    assert fused_cost["launches"] == 2
    assert fused_cost["H200 ms"] < 3
    assert fused_cost["bytes"] < plain["bytes"] / 100
    assert fused_cost["flops"] == pytest.approx(plain["flops"], rel=0.2)
    assert plain["launches"] == table["edsr-s-lmliif 720p render, PyTorch"]["launches"]
    positions = 3840 * 2160
    assert fused_cost["bytes"] > 4 * 3 * positions  # each output is written


@pytest.mark.parametrize(("card", "most"), MOST)
def test_kernels_fit_their_registers(card, most) -> None:
    script = (
        "import json; from tools.bench import gpu;"
        f"made = [gpu.compiled(*case, gpu.CARDS[{card!r}]) for case in {list(most)!r}];"
        "print(json.dumps(made))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    for (case, (registers, instructions)), made in zip(most.items(), json.loads(run.stdout), strict=True):
        assert made["spilled"] == 0, case
        assert made["registers"] <= registers, case
        assert made["instructions"] <= instructions, case
        assert made["shared"] <= SHARED_LIMIT, case
        assert made["occupancy"] >= 0.125, case


def test_measurement_runs_wherever_pytorch_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And first compares the formulations."""
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps({"model": SMALL_LMLIIF}))
    monkeypatch.setattr(fused, "SAMPLED_TILE", (1, 512))
    monkeypatch.setattr(fused, "GRADIENT_TILE", (1, 128))
    figures = gpu.measured(config, torch.device("cpu"), (3, 2), (4, 3), 1)
    assert {"encode, ms", "render, published, ms", "render, triton, ms", "train step, triton, ms"} <= figures.keys()
    monkeypatch.setattr(gpu, "published", lambda model, field, coord: torch.zeros(*coord.shape[:2], 3))
    with pytest.raises(gpu.InputError, match="differs from the published formulation"):
        gpu.measured(config, torch.device("cpu"), (3, 2), (4, 3), 1)
