"""Samples a second of a training with and without a cache of decoded pictures and with several numbers of data
workers, and how long its steps wait for data."""

import copy
import itertools
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from pictures.reading import list_pictures
from tools.bench.measures import Figure
from training.loop import train_step
from training.run import Run, prepare
from training.watching import Meter
from utils import processes
from utils.config import load_config, merge

CACHES = {"none": "no cache", "memmap": "memory map"}
WORKERS = (0, 1, 2)
PREFETCHED = 2  # batches that each data worker prepares ahead, PyTorch's default


def loading(arguments: Any) -> dict[str, Figure]:
    """The train loop of a config on a folder of pictures, each combination in turn in every round.

    Ratios are those of one round. Each round begins without what data workers have prepared during the others' turns.
    """
    pictures = list_pictures(arguments.pictures)
    with tempfile.TemporaryDirectory() as place, ExitStack() as ended:
        folder = Path(place, "pictures")
        folder.mkdir()
        for picture in pictures:  # the cache is written beside the folder of the pictures
            os.symlink(picture.resolve(), folder / picture.name)
        runs = {}
        for cache, workers in itertools.product(CACHES, WORKERS):
            config = training_config(arguments, folder, len(pictures), cache, workers)
            options = Namespace(config=arguments.model, resume=False, save_every=(None, 1e9))
            run = prepare(config, options, Path(place, "run"), torch.device("cpu"), processes.Watch(None))
            ended.callback(end_workers, run)
            runs[f"{CACHES[cache]}, {workers} workers"] = (run, batches_of(run))
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for number in range(arguments.repeats + 1):
            for name, (run, batches) in runs.items():
                for _ in itertools.islice(batches, run.loader.num_workers * PREFETCHED):
                    pass
                meter = measured(run, batches, arguments.steps)
                if number:
                    rounds[name].append(meter.figures(run.batches.batch_size))
    figures = {}
    for name, each in rounds.items():
        figures[f"{name}, samples/s"] = Figure.of([r["samples_per_second"] for r in each])
        figures[f"{name}, waiting / step"] = Figure.of([r["waiting_share"] for r in each])
    base, *others = rounds
    for name in others:
        pairs = zip(rounds[name], rounds[base], strict=True)
        figures[f"{name} / {base}"] = Figure.of([a["samples_per_second"] / b["samples_per_second"] for a, b in pairs])
    return figures


def training_config(arguments: Any, folder: Path, pictures: int, cache: str, workers: int) -> dict[str, Any]:
    """The config, on the pictures in `folder`, repeated to an epoch that is long enough."""
    config: Mapping[str, Any] = copy.deepcopy(load_config(arguments.model))
    needed = arguments.batch * (arguments.steps + PREFETCHED * max(WORKERS)) * (arguments.repeats + 2)
    args = {"root_path": str(folder), "repeat": -(-needed // pictures), "cache": cache}
    crops = {"args": {"inp_size": max(arguments.input), "sample_q": arguments.queries}}
    data = {"batch_size": arguments.batch, "dataset": {"name": "image-folder", "args": args}, "wrapper": crops}
    return merge(config, {"train_dataset": data, "val_dataset": None, "num_workers": workers})


def batches_of(run: Run) -> Iterator[Any]:
    """The batches of a run's first epoch; data workers start with the first of them."""
    run.batches.epoch = 1
    yield from run.loader


def measured(run: Run, batches: Iterator[Any], steps: int) -> Meter:
    """Train so many steps on what data workers make meanwhile."""
    run.network.train()
    meter = run.meter = Meter()
    for batch in meter.waiting(itertools.islice(batches, steps)):
        train_step(run, batch)
        run.step += 1
    return meter


def end_workers(run: Run) -> None:
    """PyTorch ends the workers of a loader that nobody holds."""
    del run.loader
