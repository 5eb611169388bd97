"""A teacher's targets: made ahead, resumed, checked, mixed by the step."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import train
from datasets import teach
from datasets.teacher import MANIFEST, Taught
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic
from tests.commands import call, mistake
from tests.datasets.making import folder, paired, wrapper
from tests.faults import equal
from tests.several import in_processes, kill_at
from tests.trainings import checkpoint_of, train_config
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def taught(pictures, checkpoint) -> Path:
    """Targets of x2 and x3 from a small model."""
    call(teach, pictures, "--model", checkpoint, "--output", "taught", "--scales", 2, 3)
    return Path("taught")


def samples(pictures: Path, **arguments):
    return wrapper("sr-implicit-downsampled", folder(pictures), inp_size=8, scale_max=4, sample_q=64, **arguments)


def test_pairs_are_reduced_pictures_and_what_the_model_makes_of_them(pictures, taught) -> None:
    manifest = json.loads((taught / MANIFEST).read_text())
    names = {scale: sorted(pictures) for scale, pictures in manifest["scales"].items()}
    assert names == {"x2": ["a", "b", "c"], "x3": ["a", "b", "c"]}
    hr, lr = read_rgb(pictures / "c.png"), read_rgb(taught / "x3/lr/c.png")  # 90 x 61
    assert np.array_equal(lr, resize_bicubic(hr[:90, :60], (30, 20)))
    assert read_rgb(taught / "x3/hr/c.png").shape == (120, 80, 3)
    lr, hr = wrapper("sr-implicit-paired", paired(taught / "x2/lr", taught / "x2/hr")).pair(0)
    assert hr.shape[0] == 4 * lr.shape[0]


def test_what_is_there_stays_and_what_changed_is_made_again(pictures, taught, checkpoint, capsys) -> None:
    again = (pictures, "--model", checkpoint, "--output", "taught", "--scales", 2, 3)
    assert "made 0 targets of 6" in teach.main(list(map(str, again)))
    (taught / "x2/hr/a.png").write_bytes(b"broken")
    (taught / "x3/lr/b.png").unlink()
    Image.open(pictures / "c.png").rotate(180).save(pictures / "c.png")
    assert "made 4 targets of 6" in teach.main(list(map(str, again)))
    Taught(samples(pictures), taught)
    assert "targets of another model" in mistake(capsys, teach, pictures, "--model", "bicubic", "--output", "taught")


def test_taught_items_are_the_teachers_at_any_scale(pictures, taught) -> None:
    """A crop of an LR picture, and the same part of the teacher's picture at the scale that was drawn."""
    data = Taught(samples(pictures), taught, cache="in_memory")
    assert data.pairs[0][0][0] is data.pairs[0][0][0]  # decoded once
    random.seed(0)
    sizes = set()
    for _ in range(10):
        lr, hr = data.pair(0)
        assert lr.shape == (8, 8, 3)
        places = [
            (place, y, x)
            for place in taught.glob("x*/lr/*.png")
            for picture in [read_rgb(place)]
            for y in range(picture.shape[0] - 7)
            for x in range(picture.shape[1] - 7)
            if np.array_equal(picture[y : y + 8, x : x + 8], lr)
        ]
        ((place, y, x),) = places
        whole = read_rgb(place.parents[1] / "hr" / place.name)[4 * y : 4 * y + 32, 4 * x : 4 * x + 32]
        assert np.array_equal(hr, resize_bicubic(whole, hr.shape[:2]))
        sizes.add(hr.shape[0])
    assert len(sizes) > 5
    assert data.possible_sizes() == samples(pictures).possible_sizes()


@pytest.mark.parametrize(
    ("share", "steps", "shares"),
    [
        (0.3, (0, 99), (0.3, 0.3)),
        ({}, (0, 50, 100), (1, 0.5, 0)),
        ({"first": 0.8, "last": 0.2, "until": 0.5}, (0, 25, 50, 90), (0.8, 0.5, 0.2, 0.2)),
    ],
)
def test_shares_are_functions_of_the_step(pictures, taught, share, steps, shares) -> None:
    data = Taught(samples(pictures), taught, share)
    data.begin(100)
    for step, expected in zip(steps, shares, strict=True):
        data.at_step(step)
        assert data.share == pytest.approx(expected)
    lr_pictures = [read_rgb(path) for path in taught.glob("x*/lr/*.png")]
    data.share, drawn = 0.25, 0
    random.seed(1)
    for _ in range(30):
        lr, _ = data.pair(0)
        windows = (np.lib.stride_tricks.sliding_window_view(picture, (8, 8, 3)) for picture in lr_pictures)
        drawn += any((window == lr).all((-3, -2, -1)).any() for window in windows)
    assert 2 < drawn < 15


@pytest.mark.slow
def test_a_taught_training_goes_on_exactly(pictures, taught) -> None:
    settings = {"folder": "taught", "share": {"first": 1, "last": 0, "until": 0.9}}
    config = train_config(pictures, epoch_max=2, val_dataset=None, epoch_save=None, teacher=settings)
    options = ["--config", config, "--device", "cpu"]
    call(train, *options, "--name", "whole")
    call(train, *options, "--name", "plain", "--set", "teacher=null")
    assert not equal(checkpoint_of("plain")["model"], checkpoint_of("whole")["model"])
    options += ["--name", "parts", "--save-every", "1", "--set", "num_workers=2"]
    (status,), said = in_processes(1, train, options, kill_at(4))
    assert status == -9, said
    call(train, *options, "--resume")
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))
    assert len(yaml.safe_load(Path("save/whole/config.yaml").read_text())["teacher"]["hash"]) == 64


def test_targets_that_changed_are_refused(pictures, taught, checkpoint, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, teacher={"folder": "taught"})
    options = ("--config", config, "--device", "cpu", "--name", "r")
    call(train, *options)
    more = ("--resume", "--set", "epoch_max=2")
    call(teach, pictures, "--model", checkpoint, "--output", "taught", "--scales", 4)
    assert "teacher.hash" in mistake(capsys, train, *options, *more)
    Image.new("RGB", (9, 9)).save(taught / "x2/lr/a.png")
    assert "x2/lr/a.png is not what datasets.teach has made" in mistake(capsys, train, *options, *more)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "'folder' is missing"),
        ({"folder": "nothere"}, "no folder nothere"),
        ({"folder": "taught", "shares": 1}, "did you mean 'share'"),
        ({"folder": "taught", "share": 2}, "share is 2"),
        ({"folder": "taught", "share": {"until": 0}}, "until is 0"),
        ({"folder": "pictures"}, MANIFEST),
    ],
)
def test_teachers_that_are_not_what_was_meant(pictures, taught, settings, words) -> None:
    with pytest.raises(InputError, match=words):
        Taught.of(samples(pictures), settings)
    with pytest.raises(InputError, match="inp_size"):
        Taught.of(wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2), {"folder": "taught"})
