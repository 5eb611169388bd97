"""Small LeRF models, pictures and comparisons for the tests of native routines, and a compiler of a test's own."""

import functools
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

import models
from tests.golden_cases import assert_close
from tests.registered import SMALL_ENCODER

SIDES = st.integers(1, 24)
SIZES = st.tuples(SIDES, SIDES)
KERNELS = st.sampled_from(["gauss", "linear"])
SUPPORTS = st.sampled_from([2, 4])
SMALL_MLP = {"name": "mlp", "args": {"hidden_list": [12]}}


def make(kernel: str, modes: str = "s", support: int = 2, antialias: bool = True) -> models.ContinuousModel:
    args = {"kernel": kernel, "modes": modes, "support": support, "antialias": antialias}
    return models.make({"name": "lerf-lut", "args": args}).eval()


@functools.cache
def with_tables(kernel: str, modes: str, largest: int) -> models.ContinuousModel:
    model = make(kernel, modes)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randint(-largest, largest + 1, parameter.shape).float()
    return model


def lmf(name: str, hidden: int = 16, depth: int = 2, scale: bool = True, shift: bool = True, **arguments) -> dict:
    """A small LMF decoder."""
    shape = {"hidden_dim": hidden, "hidden_depth": depth, "mod_scale": scale, "mod_shift": shift}
    imnet = {"name": "lmmlp", "args": shape}
    if name == "lmciaosr":
        networks = dict.fromkeys(("prenet_q", "hypernet_q", "imnet_k", "imnet_v"), SMALL_MLP)
        return {"name": name, "args": {"encoder": SMALL_ENCODER, "imnet_q": imnet, **networks, **arguments}}
    args = {"encoder_spec": SMALL_ENCODER, "imnet_spec": imnet, "hypernet_spec": SMALL_MLP}
    return {"name": name, "args": {**args, **arguments}}


def random_latent(model: models.ContinuousModel, batch: int, channels: int, size: tuple[int, int]) -> models.Latent:
    """Pictures and hyper-parameters in whole levels, the extreme ones more often than others."""
    planes = (1 + len(model.kernel.hyper_parameters)) * channels
    levels = (torch.rand(batch, planes, *size) * 300 - 22).clamp(0, 255).round()
    return models.Latent(levels / 255, levels)


def assert_same_levels(native: Tensor, portable: Tensor) -> None:
    """Equal to 1e-5, and after rounding to 8 bits, but where the level is half-way between two."""
    assert_close(native, portable, 1e-5)
    levels = portable * 255
    tie = (levels - levels.floor() - 0.5).abs() < 255e-5
    assert torch.equal((native * 255).round()[~tie], levels.round()[~tie])


def examples(count: int) -> settings:
    """Settings for `count` examples of a property, fewer under the profile "short" (conftest.py)."""
    return settings(max_examples=max(1, count * settings.default.max_examples // 100), deadline=None)


SQUARES = """
#include "common.h"

extern "C" const char *squares(int64_t count, double *out, int32_t threads) {
    return completed([&] {
        parallel(count, threads, [&] { return [&](int64_t item) { out[item] = double(item * item); }; });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = signature("squares", squares);
    return text.c_str();
}
"""

needs_compiler = pytest.mark.usefixtures("made")  # of conftest.py


def script(folder: Path, text: str) -> str:
    compiler = folder / "compiler"
    compiler.write_text(f"#!/bin/sh\n{text}\n")
    compiler.chmod(0o755)
    return str(compiler)
