"""Wrappers: crops, queries, batches."""

import contextlib
import io
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets.implicit import augmented, random_corner
from pictures.tensors import resize_bicubic
from tests.commands import ROOT
from tests.datasets.making import folder, mistake, paired, wrapper, write_pictures
from utils.errors import InputError
from utils.geometry.grids import Grid
from utils.random_state import repeatable

DOWNSAMPLED, FIXED, VARIED = "sr-implicit-downsampled", "sr-implicit-fixed-resolution", "sr-implicit-uniform-varied"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (DOWNSAMPLED, {"inp_size": "x"}, ["inp_size is 'x'", "whole number from 1 or null"]),
        (DOWNSAMPLED, {"sample_q": 0}, ["sample_q is 0"]),
        (DOWNSAMPLED, {"augment": "maybe"}, ["augment is 'maybe'", "true or false"]),
        (DOWNSAMPLED, {"scale_min": "2"}, ["scale_min is '2'", "number above 0"]),
        (DOWNSAMPLED, {"scale_max": float("inf")}, ["scale_max is inf"]),
        (DOWNSAMPLED, {"scale_min": 3, "scale_max": 2}, ["scale_min 3", "scale_max 2"]),
        (DOWNSAMPLED, {"scale_min": [1.5, 2], "inp_size": 8}, ["whole pictures"]),
        ("sr-implicit-downsampled-fast", {"inp_size": "x"}, ["inp_size is 'x'"]),
        ("sr-implicit-paired-fast", {"inp_size": 0}, ["inp_size is 0"]),
        (VARIED, {"size_min": 0}, ["size_min is 0"]),
        (VARIED, {"size_min": 8, "gt_resize": -1}, ["gt_resize is -1"]),
        (FIXED, {"inp_res": [8, 0], "out_res": 8}, ["inp_res is [8, 0]", "[height, width]"]),
        (FIXED, {"inp_res": 8, "out_res": [8, 8, 8]}, ["out_res is [8, 8, 8]"]),
    ],
)
def test_wrong_arguments_of_wrappers(pictures, name, arguments, words) -> None:
    pairs = name in (VARIED, "sr-implicit-paired", "sr-implicit-paired-fast")
    dataset = paired(pictures, pictures) if pairs else folder(pictures)
    mistake(lambda: wrapper(name, dataset, **arguments), *words)


def test_wrappers_refuse_the_wrong_kind_of_data_set(pictures) -> None:
    single, pairs = folder(pictures), paired(pictures, pictures)
    for name, dataset, other, arguments in (
        ("sr-implicit-paired", single, "paired-image-folders", {}),
        (VARIED, single, "paired-image-folders", {"size_min": 8}),
        (DOWNSAMPLED, pairs, "image-folder", {}),
        (FIXED, pairs, "image-folder", {"inp_res": 8, "out_res": 8}),
    ):
        mistake(lambda n=name, d=dataset, a=arguments: wrapper(n, d, **a), f"{name} takes", f"use '{other}'")
    mistake(lambda: wrapper("sr-implicit-downsampled", {"name": "image-folder"}), "expected a Dataset")


def test_downsampled_crops_are_the_hr_crop_reduced(pictures) -> None:
    samples = wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, scale_min=1.5, scale_max=4)
    sizes = set()
    for _ in range(20):
        lr, hr = samples.pair(0)
        sizes.add(hr.shape[0])
        assert 12 <= hr.shape[0] == hr.shape[1] <= 32
        assert np.array_equal(lr, resize_bicubic(hr, (8, 8)))
    assert len(sizes) > 5
    fast = wrapper("sr-implicit-downsampled-fast", folder(pictures), inp_size=8, scale_max=4)[0]
    assert (fast["inp"].shape, fast["coord"].shape, fast["gt"].shape) == ((3, 8, 8), (64, 2), (64, 3))
    with pytest.raises(InputError, match=r"a\.png.*48x64"):
        wrapper(DOWNSAMPLED, folder(pictures), inp_size=40, scale_min=4).pair(0)


@pytest.mark.parametrize(
    ("scale", "index", "lr_size", "hr_size"),
    [
        (2.5, 1, (24, 28), (60, 70)),
        (2.5, 2, (36, 24), (90, 60)),  # of 90 x 61: floor(61 / 2.5) = 24, 24 * 2.5 = 60
        ([1.5, 2], 1, (40, 35), (60, 70)),
    ],
)
def test_whole_pictures_are_cut_to_the_scale(pictures, scale, index, lr_size, hr_size) -> None:
    lr, hr = wrapper(DOWNSAMPLED, folder(pictures), scale_min=scale).pair(index)
    assert (lr.shape[:2], hr.shape[:2]) == (lr_size, hr_size)


def test_items_are_colours_at_their_positions(pictures) -> None:
    samples = wrapper("sr-implicit-downsampled", folder(pictures), inp_size=8, scale_min=3, sample_q=50)
    item = samples[0]
    assert item["inp"].shape == (3, 8, 8)
    assert item["cell"].tolist() == pytest.approx([2 / 24, 2 / 24])
    assert len({tuple(c) for c in item["coord"].tolist()}) == 50

    whole = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2)
    item, (_, hr) = whole[0], whole.pair(0)
    assert torch.equal(item["coord"], Grid.of_size(hr.shape[:2]).coord().flatten(0, 1))
    assert torch.equal(item["gt"], torch.from_numpy(hr).flatten(0, 1) / 255)
    some = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2, sample_q=40)[0]
    for coord, colour in zip(some["coord"], some["gt"], strict=True):
        row, column = (((coord + 1) / 2) * torch.tensor(hr.shape[:2])).long().tolist()
        assert torch.equal(colour, torch.from_numpy(hr[row, column]) / 255)


def test_more_queries_than_pixels_take_each_as_often_as_any_other(pictures) -> None:
    samples = wrapper(DOWNSAMPLED, folder(pictures), inp_size=4, scale_min=2, sample_q=150)
    samples.check_queries()
    counts = Counter(map(tuple, samples[0]["coord"].tolist()))
    assert (len(counts), *sorted(set(counts.values()))) == (64, 2, 3)


def test_single_channels_are_those_of_the_picture(pictures) -> None:
    samples = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2, one_channel=True)
    whole = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2)[0]
    seen = set()
    for _ in range(40):
        item = samples[0]
        assert item["inp"].shape[0] == item["gt"].shape[1] == 1
        channel = next(c for c in range(3) if torch.equal(item["inp"][0], whole["inp"][c]))
        assert torch.equal(item["gt"][:, 0], whole["gt"][:, channel])
        seen.add(channel)
    assert seen == {0, 1, 2}


def test_items_turn_grey_as_often_as_asked(pictures) -> None:
    whole = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2)[0]
    samples = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2, grey=0.5)
    greys = 0
    with repeatable():
        for _ in range(100):
            item = samples[0]
            if torch.equal(item["inp"], whole["inp"]):
                assert torch.equal(item["gt"], whole["gt"])
                continue
            greys += 1
            for grey, colours in ((item["inp"].flatten(1), whole["inp"].flatten(1)), (item["gt"].T, whole["gt"].T)):
                luma = torch.tensor([0.299, 0.587, 0.114]) @ colours
                assert (grey - luma).abs().max() < 0.51 / 255, "all three channels"
    assert 30 < greys < 70


def test_augmentation_treats_lr_and_hr_alike() -> None:
    random.seed(0)
    hr = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    lr = hr[::2, ::2]
    seen = set()
    for _ in range(60):
        new_lr, new_hr = augmented(lr, hr)
        candidates = {(oy, ox): new_hr[oy::2, ox::2] for oy in (0, 1) for ox in (0, 1)}
        assert any(np.array_equal(new_lr, candidate) for candidate in candidates.values())
        seen.add(new_hr.tobytes())
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("lr_size", "hr_size", "words"),
    [
        ((20, 30), (40, 90), ["lr/b.png", "30x20", "hr/b.png", "90x40", "integer scale"]),
        ((20, 30), (19, 60), ["lr/b.png", "30x20", "hr/b.png", "60x19", "root_path_1 is LR"]),
        ((20, 30), (40, 29), ["lr/b.png", "29x40"]),
    ],
)
def test_pairs_that_do_not_fit_are_named_at_once(tmp_path, lr_size, hr_size, words) -> None:
    lr = write_pictures(tmp_path / "lr", a=(20, 30), b=lr_size)
    hr = write_pictures(tmp_path / "hr", a=(40, 60), b=hr_size)
    mistake(lambda: wrapper("sr-implicit-paired", paired(lr, hr)), *words)
    (hr / "b.png").write_text("broken")
    mistake(lambda: paired(lr, hr), "hr/b.png", "not a picture")


def test_whole_pairs_are_cut_to_their_scale(tmp_path) -> None:
    lr, hr = write_pictures(tmp_path / "lr", a=(20, 30)), write_pictures(tmp_path / "hr", a=(61, 92))
    lr, hr = wrapper("sr-implicit-paired", paired(lr, hr)).pair(0)
    assert (lr.shape, hr.shape) == ((20, 30, 3), (60, 90, 3))


@pytest.mark.parametrize(("width", "fits"), [(68, True), (70, False)])
def test_a_scale_fits_within_a_tenth_and_a_pixel(tmp_path, width, fits) -> None:
    """LR 20x30 at x2: a side of HR is off by less than 0.1 + 1 / 20 of it."""
    lr, hr = write_pictures(tmp_path / "lr", a=(20, 30)), write_pictures(tmp_path / "hr", a=(40, width))
    if fits:
        assert wrapper("sr-implicit-paired", paired(lr, hr), scale=2).pair(0)[0].shape == (20, 30, 3)
    else:
        mistake(lambda: wrapper("sr-implicit-paired", paired(lr, hr), scale=2), "hr/a.png", "the scale 2")


ONE_SIZE = {"a": (24, 24), "b": (24, 24)}
LYING = {"a": (16, 24), "b": (16, 24)}
MANY_SIZES = {"a": (24, 24), "b": (24, 32)}
TWO_SCALES = {"a": (48, 48), "b": (72, 72)}


@pytest.mark.parametrize(
    ("name", "lr", "hr", "arguments", "words"),
    [
        (DOWNSAMPLED, None, MANY_SIZES, {"inp_size": 8, "scale_max": 3, "sample_q": 9, "augment": True}, []),
        (DOWNSAMPLED, None, MANY_SIZES, {"inp_size": 8, "scale_max": 2}, ["set sample_q"]),
        (DOWNSAMPLED, None, MANY_SIZES, {"scale_min": 2, "sample_q": 9}, ["set inp_size", "12x12", "16x12"]),
        (DOWNSAMPLED, None, ONE_SIZE, {"scale_max": 2, "sample_q": 9}, ["set inp_size"]),
        (DOWNSAMPLED, None, ONE_SIZE, {"scale_min": 2, "augment": True}, []),
        (DOWNSAMPLED, None, LYING, {"scale_min": 2}, []),
        (DOWNSAMPLED, None, LYING, {"scale_min": 2, "augment": True}, ["set inp_size"]),
        ("sr-implicit-paired", MANY_SIZES, MANY_SIZES, {"sample_q": 9}, ["set inp_size"]),
        ("sr-implicit-paired", MANY_SIZES, MANY_SIZES, {"inp_size": 8}, []),
        ("sr-implicit-paired", ONE_SIZE, TWO_SCALES, {"inp_size": 8}, ["set sample_q"]),
        ("sr-implicit-paired", ONE_SIZE, TWO_SCALES, {"sample_q": 9}, []),
        (VARIED, ONE_SIZE, TWO_SCALES, {"size_min": 30, "size_max": 40}, ["set sample_q"]),
        (VARIED, ONE_SIZE, TWO_SCALES, {"size_min": 30, "size_max": 40, "sample_q": 9, "augment": True}, []),
        (VARIED, ONE_SIZE, TWO_SCALES, {"size_min": 30, "size_max": 40, "gt_resize": 20}, []),
        (VARIED, MANY_SIZES, MANY_SIZES, {"size_min": 30}, ["LR pictures of one size"]),
        (FIXED, None, MANY_SIZES, {"inp_res": [8, 9], "out_res": 20}, []),
        (FIXED, None, MANY_SIZES, {"inp_res": [8, 9], "out_res": 20, "augment": True}, ["inp_res square"]),
    ],
)
def test_batches_are_refused_exactly_when_items_cannot_be_stacked(tmp_path, name, lr, hr, arguments, words) -> None:
    hr = write_pictures(tmp_path / "hr", **hr)
    dataset = folder(hr) if lr is None else paired(write_pictures(tmp_path / "lr", **lr), hr)
    samples = wrapper(name, dataset, **arguments)
    samples.check_batches(1)
    random.seed(0)
    items = [samples[index] for index in (0, 1) * 12]
    shapes = {tuple(value.shape for value in item.values()) for item in items}
    if words:
        assert len(shapes) > 1
        mistake(lambda: samples.check_batches(2), "batch_size 2", name, *words)
    else:
        assert len(shapes) == 1
        samples.check_batches(2)


def test_varied_and_fixed_sizes(tmp_path, pictures) -> None:
    pairs = paired(pictures, pictures)
    varied = wrapper("sr-implicit-uniform-varied", pairs, size_min=20, size_max=40)
    assert [varied.pair(i)[1].shape[0] for i in range(3)] == [20, 30, 40]
    assert wrapper("sr-implicit-uniform-varied", pairs, size_min=20, gt_resize=24).pair(1)[1].shape == (24, 24, 3)
    fixed = wrapper("sr-implicit-fixed-resolution", folder(pictures), inp_res=[9, 16], out_res=30)
    assert [p.shape for p in fixed.pair(0)] == [(9, 16, 3), (30, 30, 3)]


def test_which_queries_make_a_window(pictures) -> None:
    def window(**arguments):
        return wrapper(DOWNSAMPLED, folder(pictures), **arguments).window

    assert window(inp_size=8, scale_min=3, sample_q=25, sample_window=True) == (5, 5)
    assert window(inp_size=8, scale_min=2, augment=True) == (16, 16)
    assert window(inp_size=8, scale_min=2, sample_q=16) is None
    assert window(inp_size=8, scale_max=4) is None, "items differ"
    assert window(scale_min=2) is None
    one = wrapper(DOWNSAMPLED, folder(pictures, first_k=1), scale_min=2)
    assert one.window == (64, 48)
    assert wrapper(DOWNSAMPLED, folder(pictures, first_k=1), scale_min=2, augment=True).window is None


def test_windows_that_do_not_fit_are_explained(pictures) -> None:
    for sample_q in (None, 24):
        mistake(
            lambda q=sample_q: wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, sample_q=q, sample_window=True),
            DOWNSAMPLED, "sample_window", "square number",
        )  # fmt: skip
    large = wrapper(DOWNSAMPLED, folder(pictures), scale_min=2, sample_q=2500, sample_window=True)
    mistake(large.check_queries, "50x50", "48x64", "lower sample_q")


@pytest.mark.parametrize(("scale", "given"), [((3, 2), [3, 2]), ((2, 3), [2, 3]), ((3, 3), None)])
def test_paired_crops_are_those_of_their_rows_and_columns(tmp_path, scale, given) -> None:
    """Every pixel of the HR picture differs from its neighbours along both axes, and the scales may differ, too."""
    hr = np.random.default_rng(0).integers(0, 256, (scale[0] * 20, scale[1] * 30, 3), np.uint8)
    for name, picture in {"lr": hr[:: scale[0], :: scale[1]], "hr": hr}.items():
        (tmp_path / name).mkdir()
        Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / name / "a.png")
    samples = wrapper("sr-implicit-paired", paired(tmp_path / "lr", tmp_path / "hr"), inp_size=6, scale=given)
    seen = set()
    for _ in range(20):
        lr, crop = samples.pair(0)
        assert crop.shape == (6 * scale[0], 6 * scale[1], 3)
        assert np.array_equal(crop[:: scale[0], :: scale[1]], lr)
        seen.add(crop.tobytes())
    assert len(seen) > 10


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_windows_of_pictures_that_are_not_square(tmp_path, size) -> None:
    """Queries are a square of neighbouring pixels anywhere in the picture, at the positions of these pixels."""
    hr = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(hr).save(tmp_path / "a.png")
    samples = wrapper(DOWNSAMPLED, folder(tmp_path), scale_min=2, sample_q=36, sample_window=True)
    corners = set()
    for _ in range(40):
        item = samples[0]
        places = ((item["coord"] + 1) / 2 * torch.tensor(size)).long()
        top, left = places[0].tolist()
        assert places.tolist() == [[y, x] for y in range(top, top + 6) for x in range(left, left + 6)]
        assert torch.equal(item["gt"], torch.from_numpy(hr[top : top + 6, left : left + 6]).flatten(0, 1) / 255)
        corners.add((top, left))
    assert max(top for top, _ in corners) > size[0] // 2 - 6
    assert max(left for _, left in corners) > size[1] // 2 - 6


def test_data_sets_of_ones_own_are_told_what_they_lack() -> None:
    class Incomplete(torch.utils.data.Dataset):
        paired = False

    mistake(lambda: wrapper(DOWNSAMPLED, Incomplete(), inp_size=8), "data set 'Incomplete' lacks path")


def test_the_example_of_the_docs_is_a_data_set(tmp_path, monkeypatch) -> None:
    """With a stand-in for LMDB, which is not required."""
    text = (ROOT / "docs/training.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(file, "PNG")
    (tmp_path / "meta_info.txt").write_text("0001.png (40,40,3) 1\n")
    reading = SimpleNamespace(get=lambda key: file.getvalue() if key == b"0001" else None)
    opened = contextlib.nullcontext(SimpleNamespace(begin=lambda: contextlib.nullcontext(reading)))
    monkeypatch.setitem(sys.modules, "lmdb", SimpleNamespace(open=lambda *_, **__: opened))
    names: dict = {}
    try:
        exec(code, names)
        dataset = datasets.make({"name": "lmdb-images", "args": {"path": str(tmp_path), "repeat": 3}})
    finally:
        datasets.registry.factories.pop("lmdb-images", None)
    item = wrapper(DOWNSAMPLED, dataset, inp_size=8, sample_q=16)[2]
    assert item["inp"].shape == (3, 8, 8)


def test_crops_come_from_everywhere(pictures) -> None:
    """Also where a crop is more than half, and where it is less than half of a picture."""
    random.seed(0)
    found = {random_corner((7, 9), (4, 2), Path("a.png")) for _ in range(500)}
    assert found == {(y, x) for y in range(4) for x in range(8)}
    assert not wrapper(DOWNSAMPLED, folder(pictures), inp_size=8).augment
