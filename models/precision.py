"""In which number format encoders compute: float32, or bfloat16, which many processors multiply two to four times as
fast. Rendering is float32 always.

A model says with `reduced` which part of it may be computed so; `Upscaler.computing` says whether it is. What "auto"
comes to is measured, once for each model and machine, see `choose`.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.native.compiling import cache_folder
from models.registry import weights_hash
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from utils.errors import InputError
from utils.files import PROJECT, atomic_file
from utils.names import PRECISIONS

if TYPE_CHECKING:
    from models.upscaler import Upscaler

REDUCED = "encoders by convolution.cpp where it is, latent MLPs of LM-LIIF and LM-CiaoSR"  # a change is measured anew
LARGEST_LOSS = 0.005  # dB on the probes: half of what may be lost on a test set
PROBES = tuple(PROJECT / "load/samples" / f"{name}.png" for name in ("astronaut", "chelsea", "coffee"))
PROBE_SIDE = 128  # pixels of the middle of a picture
PROBE_SCALES = (2, 4)
MANY_PARAMETERS = 5_000_000  # of models whose measurement takes seconds, of which the user is told
NATIVE_CAPABILITY = (8, 0)  # of the first GPUs of NVIDIA that multiply bfloat16

_precision = ContextVar("precision", default="float32")


@contextmanager
def using(precision: str) -> Iterator[None]:
    """Within the block, what `reduced` computes in: float32 or bfloat16."""
    token = _precision.set(precision)
    try:
        yield
    finally:
        _precision.reset(token)


@contextmanager
def reduced(device: torch.device) -> Iterator[bool]:
    """Within the block, convolutions and matrix products on `device` are computed in the precision in use. Gives
    whether that is bfloat16; their results may then be, too."""
    if _precision.get() == "float32":
        yield False
    else:
        with torch.autocast(device.type, torch.bfloat16):
            yield True


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16, AMX, ARM's BF16; NVIDIA's from Ampere on)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= NATIVE_CAPABILITY
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def choose(upscaler: "Upscaler") -> str:
    """What `upscaler.precision` comes to: float32 or bfloat16; InputError for bfloat16 where nothing would be computed
    in it.

    "auto" is bfloat16 where the processor multiplies it, and the model loses at most LARGEST_LOSS by it in PSNR on
    PROBES at each of PROBE_SCALES, in the mean: measured with the model's own weights when they are first met and kept
    in the folder of the native routines. It is float32 where that cannot be measured.
    """
    precision, encodes = upscaler.precision, upscaler.model.encodes
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision '{precision}'; known are: {', '.join(PRECISIONS)}")
    if precision == "bfloat16" and not encodes:
        raise InputError("precision 'bfloat16' is not possible here: this model has no encoder; use auto or float32")
    if precision != "auto":
        return precision
    if not encodes or not multiplies_bfloat16(upscaler.device) or not all(path.is_file() for path in PROBES):
        return "float32"
    return "bfloat16" if max(kept_losses(upscaler).values()) <= LARGEST_LOSS else "float32"


def kept_losses(upscaler: "Upscaler") -> Mapping[str, float]:
    """`losses`, measured once for each model, device, backend and PyTorch, as far as the result can be kept."""
    model, device = upscaler.model, upscaler.device
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    made_of = (type(model).__name__, weights_hash(model), upscaler.normalization, processor, torch.__version__)
    made_of += (upscaler.backend,)
    key = hashlib.sha256(repr((*made_of, REDUCED, PROBE_SIDE, PROBE_SCALES)).encode()).hexdigest()[:32]
    try:
        path = cache_folder() / f"precision-{key}.json"
    except InputError:
        return losses(upscaler)
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text())
        if isinstance(kept, dict) and kept and all(isinstance(loss, float) for loss in kept.values()):
            return kept
    if sum(parameter.numel() for parameter in model.parameters()) > MANY_PARAMETERS:
        logging.getLogger("continua").warning("measuring, once for this model, what bfloat16 loses ...")
    measured = losses(upscaler)
    with suppress(OSError, InputError), atomic_file(path) as temporary:
        temporary.write_text(json.dumps(measured))
    return measured


def losses(upscaler: "Upscaler") -> dict[str, float]:
    """{scale: PSNR in dB that bfloat16 loses to float32 on PROBES, in the mean}; NaN counts as infinite."""
    exact, fast = (replace(upscaler, precision=name) for name in ("float32", "bfloat16"))
    measured = {}
    for scale in PROBE_SCALES:
        differences = []
        for path in PROBES:
            lr, hr = _probe(path, scale)
            errors = [(made(lr, (PROBE_SIDE, PROBE_SIDE)).cpu() - hr).square().mean() for made in (fast, exact)]
            differences.append(10 * torch.log10(errors[0] / errors[1]))
        loss = torch.stack(differences).mean().nan_to_num(nan=float("inf"))
        measured[str(scale)] = float(loss)
    return measured


def _probe(path: Path, scale: int) -> tuple[Tensor, Tensor]:
    """The middle of a picture as LR (3, h, w), by Pillow's bicubic, and HR (3, H, W)."""
    pixels = read_rgb(path)
    top, left = ((n - PROBE_SIDE) // 2 for n in pixels.shape[:2])
    hr = np.ascontiguousarray(pixels[top : top + PROBE_SIDE, left : left + PROBE_SIDE])
    side = PROBE_SIDE // scale
    return to_tensor(resize_bicubic(hr, (side, side))), to_tensor(hr)
