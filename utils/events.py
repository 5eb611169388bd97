"""TensorBoard's event files."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import image, scalar

from utils.files import writing


class EventLog:
    """TensorBoard events of a run, written synchronously: SummaryWriter's thread hangs when the disk is full."""

    def __init__(self, folder: Path):
        self.folder = folder
        with writing(folder):
            folder.mkdir(exist_ok=True)
            self.writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def add(self, step: int, scalars: Mapping[str, float], pictures: Mapping[str, torch.Tensor] | None = None) -> None:
        """Numbers and (3, H, W) pictures in [0, 1] of a step, under their names."""
        entries = [scalar(name, value) for name, value in scalars.items()]
        entries += [image(name, picture.numpy()) for name, picture in (pictures or {}).items()]
        with writing(self.folder):
            for entry in entries:
                self.writer.write_event(Event(wall_time=time.time(), step=step, summary=entry))
            self.writer.flush()
