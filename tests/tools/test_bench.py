"""tools.bench as users call it."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from PIL import Image

import models
from models.checkpoints.loading import save_checkpoint
from tests.commands import ROOT, call
from tests.trainings import train_config
from tools.bench import __main__ as bench
from tools.bench import measures as benchmarks

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_cost_table_and_plot(capsys) -> None:
    config = str(ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml")
    call(bench, "cost", "--configs", config, "--scales", "2,3x1.5", "--json", "c.json", "--plot", "c.png")
    assert "165,651" in capsys.readouterr().out
    assert list(json.loads(Path("c.json").read_text())["models"]["edsr-baseline-lmliif"]["decoder_macs"]) == [
        "2",
        "3x1.5",
    ]
    assert Image.open("c.png").size == (960, 600)


@pytest.fixture
def forked(monkeypatch) -> None:
    """Processes that are to import everything anew, for honest figures of memory, start with what is imported here."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("command", "figure"),
    [
        ("encode", "encoder runs saved"),
        ("train", "step / encoder"),
        ("precision", "small bfloat16 / float32"),
        ("end-to-end", "whole bfloat16 / float32"),
        ("busy", "small 64x64 encoder busy / quiet"),
        ("crop", "small crop / whole"),
        ("memory", "small warp beyond input and output, MB"),
    ],
)
def test_benchmarks_run(checkpoint, command, figure) -> None:
    options = ("--model", checkpoint, "--repeats", 1)
    if command == "memory":
        options = ("--models", checkpoint, "--size", "48x32")
    elif command in ("precision", "busy", "crop"):
        options = ("--models", checkpoint, "--repeats", 1)
    if command in ("crop", "end-to-end"):
        options += ("--size", "64x48")
    call(bench, command, *options, "--input", "16x16", "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert figure in report["figures"]
    assert report["machine"]["torch"] == torch.__version__


@pytest.mark.slow
def test_samples_a_second_of_a_config(pictures) -> None:
    """With and without a cache, and by so many data workers as are named; nothing stays behind."""
    config = train_config(pictures, val_dataset=None)
    options = ("--pictures", pictures, "--steps", 2, "--batch", 2, "--queries", 16, "--repeats", 1, "--json", "b.json")
    call(bench, "train", "--model", config, "--input", "8x8", *options)
    figures = json.loads(Path("b.json").read_text())["figures"]
    for name in (f"{cache}, {workers} workers" for cache in ("no cache", "memory map") for workers in (0, 1, 2)):
        assert figures[f"{name}, samples/s"]["median"] > 0
        assert 0 <= figures[f"{name}, waiting / step"]["median"] <= 1
    assert "memory map, 2 workers / no cache, 0 workers" in figures
    assert not multiprocessing.active_children()
    assert {path.name for path in pictures.parent.iterdir()} == {"pictures", "config.yaml", "b.json"}


def test_rendering_at_several_scales(checkpoint, capsys) -> None:
    options = ("--input", "8x6", "--scales", "2,3x1.5,4", "--repeats", 2, "--json", "b.json", "--plot", "b.png")
    call(bench, "render", "--models", checkpoint, "bicubic", *options)
    figures = json.loads(Path("b.json").read_text())["figures"]
    for figure in (
        "small x3x1.5, s",
        "small x2 / product",
        "small x4 / x2",
        "small latent MLP / product",
        "bicubic x4, s",
    ):
        assert 0 < figures[figure]["lowest"] <= figures[figure]["median"] <= figures[figure]["highest"]
    assert "bicubic x4 / product" not in figures  # filters have no networks to compare
    assert Image.open("b.png").size == (960, 600)


def test_ratios_are_those_of_one_round() -> None:
    """The machine being twice as slow in one round changes no ratio."""
    figure = benchmarks.ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0], factor=2.0)
    assert (figure.lowest, figure.median, figure.highest) == (1, 1, 1)


def test_memory_of_rendering_follows_the_field() -> None:
    """In a process of its own, which has not held more before; a larger picture, a larger field."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux, which tells the largest resident size anew")
    config = str(ROOT / "configs/train-lmf/train_edsr-s-lmliif.yaml")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        _, small, large = (  # the first one also holds what later ones find there
            pool.apply(benchmarks.peak_of_rendering, (config, "auto", size, (300, 300), 1))
            for size in ((40, 100), (40, 100), (320, 200))
        )
    field = 4 * 192 * 40 * 100 / 1e6  # MB, of the small one's modulations
    assert small > field
    assert large > small + field  # of blocks of pixels: not of all sixteen times as many


@pytest.mark.slow
def test_lerf_against_pillow(capsys) -> None:
    torch.manual_seed(0)
    spec = {"name": "lerf-lut", "args": {"kernel": "linear", "modes": "s"}}
    save_checkpoint("tables.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    settings = ("--picture", ROOT / "load/samples/coffee.png", "--input", "16x9", "--size", "40x30", "--repeats", 1)
    call(bench, "lerf", "--models", "tables.pth", *settings, "--json", "b.json")
    figures = json.loads(Path("b.json").read_text())["figures"]
    assert {"Pillow, s", "tables whole / Pillow", "tables warp / whole", "tables PyTorch / whole"} <= figures.keys()


def test_turning_back_keeps_what_a_good_filter_keeps(pictures, capsys) -> None:
    call(bench, "turn", "--models", "nearest", "lanczos", "--pictures", pictures, "--degrees", 30, "--json", "b.json")
    figures = json.loads(Path("b.json").read_text())["figures"]
    assert set(figures["lanczos"]) == {"a.png", "b.png", "c.png", "mean"}
    assert figures["lanczos"]["mean"] > figures["nearest"]["mean"] + 3
