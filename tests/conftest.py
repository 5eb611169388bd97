"""Fixtures that many tests share, threads that fit small tensors, and native routines that are compiled once.

PyTorch is imported by who needs it: with pytest-xdist, the process that hands out the tests does not.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

# Read when PyTorch is imported: threads that wait, here and in the programs that tests start, leave the processor free.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when triton is imported, whoever does that first: kernels run on the CPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

# Jobs in the background of a shell ignore Ctrl-C, which programs then leave so.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from PIL import Image

from models.native import compiling
from painting.lut_engine import find_library
from utils.errors import InputError
from utils.progress import Advance

SHARED = Path(__file__).parents[2] / "shared"
SMALL_LMLIIF = {
    "name": "lmliif",
    "args": {
        "encoder_spec": {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 8, "no_upsampling": True}},
        "imnet_spec": {"name": "lmmlp", "args": {"hidden_dim": 16, "hidden_depth": 3}},
        "hypernet_spec": {"name": "mlp", "args": {"hidden_list": [24]}},
        "lr_skip": True,
    },
}
SMALL_LIIF = {
    "name": "liif",
    "args": {
        "encoder_spec": SMALL_LMLIIF["args"]["encoder_spec"],
        "imnet_spec": {"name": "mlp", "args": {"hidden_list": [32, 32]}},
    },
}


def pytest_configure(config: pytest.Config) -> None:
    """Before any test file is imported."""
    if config.getoption("numprocesses", None):  # of pytest-xdist: its workers have none
        compile_routines()
        return
    import torch

    # The first backward pass starts a thread for each device, and a fake CUDA device counts as one: after that,
    # processes that are forked cannot train. Here there is none yet.
    torch.zeros(1, requires_grad=True).sum().backward()


def compile_routines() -> None:
    """Fill the cache, two at a time, so that not every worker compiles them; who needs them hears that it failed."""

    def attempt(make: Callable[[], object]) -> None:
        with suppress(compiling.BuildError, InputError, OSError):
            make()

    names = [path.stem for path in compiling.SOURCES.glob("*.cpp")]
    attempt(compiling.toolchain)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(attempt, [find_library, *(partial(compiling.compiled, name) for name in names)]))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of other people's data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data in {SHARED}, which is not there")
    return SHARED


@pytest.fixture(params=[SMALL_LMLIIF, SMALL_LIIF], ids=["lmliif", "liif"])
def small_model(request: pytest.FixtureRequest):
    """A ContinuousModel small enough for property tests, random weights."""
    import torch

    import models

    torch.manual_seed(0)
    return models.make(request.param).eval()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint file of a small LM-LIIF."""
    import torch

    import models
    from models.checkpoints.loading import save_checkpoint

    torch.manual_seed(0)
    path = tmp_path / "small.pth"
    save_checkpoint(path, {"model": {**SMALL_LMLIIF, "sd": models.make(SMALL_LMLIIF).state_dict()}})
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three RGB pictures of smooth blobs: a.png (48 wide, 64 high), b.png, c.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, size in {"a": (64, 48), "b": (60, 70), "c": (90, 61)}.items():
        blobs = generator.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of the test's own, so that relative paths land there."""
    monkeypatch.chdir(tmp_path)


class Listener:
    """Who listens to long work: remembers stages and what they come to, what is counted in each, how many are over."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self.counted: list[list[float]] = []
        self.ended = 0

    @contextmanager
    def __call__(self, name: str, total: float) -> Iterator[Advance]:
        self.stages.append((name, total))
        self.counted.append([])
        try:
            yield self.counted[-1].append
        finally:
            self.ended += 1
