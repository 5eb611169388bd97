"""Folders and wrappers."""

import json
import os
import random

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets.implicit import augmented
from utils.coords import Grid
from utils.errors import InputError
from utils.images import read_rgb, resize_bicubic


def folder(root, **arguments):
    return datasets.make({"name": "image-folder", "args": {"root_path": root, **arguments}})


def wrapper(name, dataset, **arguments):
    return datasets.make({"name": name, "args": arguments}, dataset=dataset)


@pytest.mark.parametrize("cache", ["none", "bin", "in_memory"])
def test_caches_hold_the_same_pixels(pictures, cache) -> None:
    dataset = folder(pictures, cache=cache, repeat=2)
    assert len(dataset) == 6
    for i, name in enumerate(["a", "b", "c", "a"]):
        assert np.array_equal(dataset[i], read_rgb(pictures / f"{name}.png"))
        assert dataset.path(i).stem == name


def test_bin_cache_notices_a_changed_picture(pictures) -> None:
    dataset = folder(pictures, cache="bin")
    before = dataset[0].copy()
    Image.new("RGB", (64, 48), (9, 9, 9)).save(pictures / "a.png")
    later = (pictures / "a.png").stat().st_mtime + 10
    os.utime(pictures / "a.png", (later, later))
    assert not np.array_equal(folder(pictures, cache="bin")[0], before)
    assert (pictures.parent / "_bin_pictures").is_dir()


def test_selection(pictures, tmp_path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"test": ["c.png", "a.png"]}))
    split = {"split_file": str(tmp_path / "split.json"), "split_key": "test"}
    assert [p.name for p in folder(pictures, **split).paths] == ["c.png", "a.png"]
    assert [p.name for p in folder([tmp_path / "nothere", pictures], first_k=1).paths] == ["a.png"]
    with pytest.raises(InputError, match="split_key"):
        folder(pictures, **{**split, "split_key": "nokey"})
    with pytest.raises(InputError, match="nothere"):
        folder(tmp_path / "nothere")
    with pytest.raises(InputError, match="cache 'ram'"):
        folder(pictures, cache="ram")


def test_downsampled_crop_is_the_hr_crop_reduced(pictures) -> None:
    samples = wrapper("sr-implicit-downsampled", folder(pictures), inp_size=8, scale_min=1.5, scale_max=4)
    sizes = set()
    for _ in range(20):
        lr, hr = samples.pair(0)
        sizes.add(hr.shape[0])
        assert lr.shape == (8, 8, 3)
        assert 12 <= hr.shape[0] == hr.shape[1] <= 32
        assert np.array_equal(lr, resize_bicubic(hr, (8, 8)))
    assert len(sizes) > 5


def test_whole_picture_is_cut_to_the_scale(pictures) -> None:
    samples = wrapper("sr-implicit-downsampled", folder(pictures), scale_min=2.5)
    lr, hr = samples.pair(1)  # 60 x 70
    assert (lr.shape, hr.shape) == ((24, 28, 3), (60, 70, 3))
    lr, hr = samples.pair(2)  # 90 x 61: floor(61 / 2.5) = 24, 24 * 2.5 = 60
    assert (lr.shape, hr.shape) == ((36, 24, 3), (90, 60, 3))


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


@pytest.mark.parametrize("arguments", [{"scale_max": 4}, {"scale_min": 2}])
def test_fast_variants_draw_one_query_an_lr_pixel(pictures, arguments) -> None:
    item = wrapper("sr-implicit-downsampled-fast", folder(pictures), inp_size=8, **arguments)[0]
    assert (item["inp"].shape, item["coord"].shape, item["gt"].shape) == ((3, 8, 8), (64, 2), (64, 3))


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


def pair_folders(tmp_path, lr_size, hr_size, count=1):
    for name, size in {"lr": lr_size, "hr": hr_size}.items():
        (tmp_path / name).mkdir()
        for i in range(count if name == "hr" else 1):
            ramp = np.broadcast_to(np.arange(size[1], dtype=np.uint8)[None, :, None], (*size, 3))
            Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / name / f"{i}.png")
    paths = {"root_path_1": str(tmp_path / "lr"), "root_path_2": str(tmp_path / "hr")}
    return datasets.make({"name": "paired-image-folders", "args": paths})


def test_paired_crops_cover_the_same_part(tmp_path) -> None:
    samples = wrapper("sr-implicit-paired", pair_folders(tmp_path, (20, 30), (61, 92)), inp_size=6)
    for _ in range(10):
        lr, hr = samples.pair(0)
        assert (lr.shape, hr.shape) == ((6, 6, 3), (18, 18, 3))
        assert hr[0, 0, 0] == 3 * lr[0, 0, 0]
    lr, hr = wrapper("sr-implicit-paired", samples.dataset).pair(0)
    assert (lr.shape, hr.shape) == ((20, 30, 3), (60, 90, 3))


def test_pairs_that_do_not_fit_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"0\.png"):
        wrapper("sr-implicit-paired", pair_folders(tmp_path, (20, 30), (40, 90))).pair(0)
    (tmp_path / "more").mkdir()
    with pytest.raises(InputError, match="2 pictures"):
        pair_folders(tmp_path / "more", (20, 30), (40, 60), count=2)


def test_varied_and_fixed_sizes(tmp_path, pictures) -> None:
    paired = datasets.make(
        {"name": "paired-image-folders", "args": {"root_path_1": str(pictures), "root_path_2": str(pictures)}}
    )
    varied = wrapper("sr-implicit-uniform-varied", paired, size_min=20, size_max=40)
    assert [varied.pair(i)[1].shape[0] for i in range(3)] == [20, 30, 40]
    assert wrapper("sr-implicit-uniform-varied", paired, size_min=20, gt_resize=24).pair(1)[1].shape == (24, 24, 3)
    fixed = wrapper("sr-implicit-fixed-resolution", folder(pictures), inp_res=[9, 16], out_res=30)
    assert [p.shape for p in fixed.pair(0)] == [(9, 16, 3), (30, 30, 3)]


def test_crops_and_queries_that_are_too_large(pictures) -> None:
    with pytest.raises(InputError, match=r"a\.png.*48x64"):
        wrapper("sr-implicit-downsampled", folder(pictures), inp_size=40, scale_min=4).pair(0)
    with pytest.raises(InputError, match="sample_q"):
        wrapper("sr-implicit-downsampled", folder(pictures), inp_size=4, scale_min=1, sample_q=17)[0]
    with pytest.raises(InputError, match="scale_min"):
        wrapper("sr-implicit-downsampled", folder(pictures), scale_min=3, scale_max=2)
