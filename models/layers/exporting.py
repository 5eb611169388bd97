"""Whether a model is being traced into an ONNX graph, which has no loops and no native routines."""

import sys

import torch


def is_exporting() -> bool:
    """`torch.onnx.is_in_onnx_export` without the import that it would take where nobody exports."""
    return "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()
