"""`python -m tools.bench gpu` without a GPU: costs by arithmetic, kernels compiled ahead, and its measurement, run on
the CPU by Triton's interpreter."""

import json
import os
import subprocess
import sys

os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are imported

import pytest
import torch

from models.native import fused
from tools.bench import gpu
from utils.files import PROJECT

pytest.importorskip("triton")

SMALL, LTE = gpu.MODELS[0], gpu.MODELS[2]
# Registers and machine instructions when the kernels were last changed, by Triton 3.8: what rises has a reason
MOST = {
    ("paint", SMALL, "A100"): (104, 2100),
    ("paint", SMALL, "RTX 4090"): (104, 2100),
    ("paint", SMALL, "H200"): (108, 2120),
    ("paint", LTE, "A100"): (106, 3080),
    ("paint", LTE, "H200"): (110, 3110),
    ("gradients", SMALL, "A100"): (240, 4060),
    ("lut_stage", "lerf", "A100"): (40, 930),
    ("resample", "lerf", "A100"): (32, 730),
    ("gradients", SMALL, "H200"): (172, 3420),
}
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


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case[1:] in ((SMALL, "A100"), ("lerf", "A100")) else pytest.mark.thorough)
        for case in MOST
    ],
    ids="-".join,
)
def test_kernels_fit_their_registers(case) -> None:
    kernel, config, card = case
    call = f"compiled({kernel!r}, {config!r}, " if config != "lerf" else f"compiled_lerf({kernel!r}, "
    script = (
        "import dataclasses, json; from tools.bench import gpu;"
        f"print(json.dumps(dataclasses.asdict(gpu.{call}gpu.CARDS[{card!r}]))))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    made = json.loads(run.stdout)
    registers, instructions = MOST[case]
    assert made["spilled"] == 0
    assert made["registers"] <= registers
    assert made["instructions"] <= instructions
    assert made["shared"] <= SHARED_LIMIT
    assert made["occupancy"] >= 0.125


def test_measurement_runs_wherever_pytorch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """And first compares the formulations."""
    monkeypatch.setattr(fused, "SAMPLED_TILE", (1, 512))
    monkeypatch.setattr(fused, "GRADIENT_TILE", (1, 128))
    figures = gpu.measured(SMALL, torch.device("cpu"), (5, 4), (7, 9), 1)
    assert {"encode, ms", "render, published, ms", "render, triton, ms", "train step, triton, ms"} <= figures.keys()
    monkeypatch.setattr(gpu, "published", lambda model, field, coord: torch.zeros(*coord.shape[:2], 3))
    with pytest.raises(gpu.InputError, match="differs from the published formulation"):
        gpu.measured(SMALL, torch.device("cpu"), (5, 4), (7, 9), 1)
