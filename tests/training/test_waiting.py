"""A step of a training asks the device for no value, which would make a GPU wait.

Tensors on "meta" have a shape and no values: `.item()` on them fails, and gradients flow. Fakes on "cuda" (see
tests/models/test_accelerators.py) take the ways of a GPU, such as fused optimisers, but without a GPU no gradients.
"""

from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import default_collate

from models.native import backends, fused
from tests.commands import ROOT
from tests.models.test_accelerators import DEVICE, FakeDevice
from tests.trainings import train_config
from training import loop
from training.setup import prepare
from training.state import Run
from utils import processes
from utils.config import load_config

CONFIG = ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
OPTIONS = Namespace(config="config", resume=False, save_every=(None, 1e9))


# Views, memory, and what the interpreter itself does
UNLAUNCHED = (
    "view", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze", "squeeze", "detach", "split",
    "split_with_sizes", "unbind", "empty", "empty_like", "new_empty", "empty_strided", "as_strided", "alias", "set_",
    "_unsafe_view", "_record_function_enter_new", "_record_function_exit",
)  # fmt: skip


class Counting(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.found[function.overloadpacket.__name__] += 1
        return function(*arguments, **(named or {}))


def prepared(config: dict, device: torch.device) -> tuple[Run, dict[str, torch.Tensor]]:
    """A run and its first batch, on the device."""
    run = prepare(config, OPTIONS, Path("none"), device, processes.Watch(None))
    run.batches.epoch = 1
    batch = default_collate([run.loader.dataset[key] for key in next(iter(run.batches))])
    run.network.train()
    return run, {key: value.to(device) for key, value in batch.items()}


def test_the_published_config_trains_on_tensors_without_values(tmp_path) -> None:
    """Batches of 16 and the whole model; every parameter gets a gradient, and all of it is one step of Adam."""
    Image.effect_noise((256, 256), 60).convert("RGB").save(tmp_path / "a.png")
    data = ("dataset.args.root_path", tmp_path), ("dataset.args.cache", "none")
    sets = [f"train_dataset.{key}={value}" for key, value in data]
    config = load_config(CONFIG, [*sets, "val_dataset=null", "num_workers=0", "clip_grad=1", "ema=0.9", "accumulate=2"])
    run, batch = prepared(config, torch.device("meta"))
    with Counting() as counting:
        loss, norm = loop.train_step(run, batch)
    assert (loss.device.type, norm.device.type) == ("meta", "meta")
    assert all((p.grad is not None) == p.requires_grad for p in run.upscaler.model.parameters())
    assert counting.found["convolution_backward"] == 2 * 39
    with pytest.raises(RuntimeError):
        loss.item()


def test_the_fused_render_stage_halves_the_operations_of_a_step(tmp_path, monkeypatch) -> None:
    """As on CUDA, with Triton's kernels and a fused optimiser; 459 without both."""
    pytest.importorskip("triton")
    monkeypatch.setattr(fused, "SAMPLED_TILE", (1, 512))  # few programs for Triton's interpreter
    monkeypatch.setattr(fused, "GRADIENT_TILE", (1, 128))
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "a.png")
    wrapper = {"inp_size": 12, "sample_q": 64}
    sets = [f"train_dataset.wrapper.args.{key}={value}" for key, value in wrapper.items()]
    sets += [f"train_dataset.dataset.args.root_path={tmp_path}", "train_dataset.dataset.args.cache=none"]
    config = load_config(CONFIG, [*sets, "train_dataset.batch_size=2", "val_dataset=null", "num_workers=0"])
    run, batch = prepared(config, torch.device("cpu"))
    run.optimizer = torch.optim.Adam(run.upscaler.model.parameters(), fused=True)
    with backends.using("triton"):
        loop.train_step(run, batch)  # makes the optimiser's state
        with Counting() as counting:
            loop.train_step(run, batch)
    assert sum(counting.found[name] for name in counting.found if name not in UNLAUNCHED) <= 229


@pytest.mark.usefixtures("empty_folder")
def test_on_cuda_the_optimiser_is_fused_and_nothing_is_asked(pictures, monkeypatch) -> None:
    config = load_config(train_config(pictures, val_dataset=None, clip_grad=1.0, ema=0.9))
    with FakeDevice():
        run, batch = prepared(config, DEVICE)
        parameters = list(run.upscaler.model.parameters())

        def backward(tensor: torch.Tensor) -> None:
            for parameter in parameters:
                parameter.grad = torch.empty_like(parameter)

        monkeypatch.setattr(torch.Tensor, "backward", backward)
        run.unread.append(loop.train_step(run, batch))
        run.step += 1
        assert run.optimizer.param_groups[0]["fused"]
        assert {figure.device for figures in run.unread for figure in figures} == {DEVICE}
        assert run.read_every == 50
        with pytest.raises(DataDependentOutputException):
            run.read()


@pytest.mark.usefixtures("empty_folder")
def test_figures_are_read_together_and_none_is_lost(pictures, monkeypatch) -> None:
    """Losses, norms and curves are the same whether they are read after each step or after several."""
    config = load_config(train_config(pictures, val_dataset=None))
    found = []
    for every in (1, 3):
        run, batch = prepared(config, torch.device("cpu"))
        monkeypatch.setattr(Run, "read_every", every)
        for _ in range(3):
            run.unread.append(loop.train_step(run, batch))
            run.step += 1
            if len(run.unread) >= run.read_every:
                run.read()
        assert run.unread == []
        found.append((run.losses, run.meter.norms, run.curve))
    assert found[0] == found[1]
    assert [row["step"] for row in found[0][2]] == [1, 2, 3]
    assert found[0][0][0] == sum(row["loss"] for row in found[0][2])
