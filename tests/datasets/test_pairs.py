"""LR and HR pictures are paired by their names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.pairs import pair_names
from tests.datasets.making import folder, mistake, paired
from utils.errors import InputError


def pairs(lr: str, hr: str) -> dict[str, str]:
    """{HR name: LR name} of pictures whose names stand in texts."""
    paths = [[Path(folder, f"{name}.png") for name in names.split()] for folder, names in (("lr", lr), ("hr", hr))]
    return {h.stem: low.stem for low, h in pair_names(Path("lr"), paths[0], Path("hr"), paths[1])}


@pytest.mark.parametrize(
    ("lr", "hr", "expected"),
    [
        ("baby head", "baby head", {"baby": "baby", "head": "head"}),
        ("img10x2 img1x2 img2x2", "img1 img10 img2", {"img1": "img1x2", "img10": "img10x2", "img2": "img2x2"}),
        ("baby_LRBI_x2", "baby_HR_x2", {"baby_HR_x2": "baby_LRBI_x2"}),
        ("img_001_SRF_4_LR img_002_SRF_4_LR", "img_001_SRF_4_HR img_002_SRF_4_HR", {
            "img_001_SRF_4_HR": "img_001_SRF_4_LR", "img_002_SRF_4_HR": "img_002_SRF_4_LR"}),
        ("box2 boxx2", "box box2", {"box2": "box2", "box": "boxx2"}),
        ("box2x3 boxx3", "box box2", {"box2": "box2x3", "box": "boxx3"}),
        ("0001x3.5", "0001", {"0001": "0001x3.5"}),
        ("0801x4m 0802x4d", "0801 0802", {"0801": "0801x4m", "0802": "0802x4d"}),
        ("Canon_001_LR4 Canon_002_LR4", "Canon_001_HR Canon_002_HR", {
            "Canon_001_HR": "Canon_001_LR4", "Canon_002_HR": "Canon_002_LR4"}),
        ("baby_bicLRx4", "baby", {"baby": "baby_bicLRx4"}),
    ],
)  # fmt: skip
def test_usual_names_are_paired(lr, hr, expected) -> None:
    assert pairs(lr, hr) == expected


@pytest.mark.parametrize(
    ("lr", "hr", "words"),
    [
        ("0 1 2", "1 2 3", "lr/0.png has no partner"),
        ("1 2", "1 2 3", "hr/3.png has no partner"),
        ("babyx2 headx2", "baby bird head", "hr/bird.png has no partner"),
        ("headphonesx2", "head", "lr/headphonesx2.png has no partner"),
        ("img10x2", "img1", "lr/img10x2.png has no partner"),
        ("babyx2 babyx3", "baby", "lr/babyx2.png and lr/babyx3.png both belong to hr/baby.png"),
        ("p q", "1 2", "lr/p.png has no partner"),
    ],
)
def test_pictures_without_a_partner_are_named(lr, hr, words) -> None:
    with pytest.raises(InputError, match=words):
        pairs(lr, hr)


def test_one_name_in_two_formats_is_no_pair() -> None:
    with pytest.raises(InputError, match=r"could belong to hr/a\.png and to hr/a\.jpg"):
        pair_names(Path("lr"), [Path("lr/a.png")], Path("hr"), [Path("hr/a.png"), Path("hr/a.jpg")])


def write(place: Path, level: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(place)


def test_data_sets_hold_the_pairs_by_name(tmp_path) -> None:
    """In order of the HR names, of which `first_k` are taken; LR and HR hold the same level here."""
    for i, name in enumerate(("img1", "img10", "img2")):
        write(tmp_path / "hr" / f"{name}.png", i)
        write(tmp_path / "lr" / f"{name}x2.png", i)
    samples = paired(tmp_path / "lr", tmp_path / "hr")
    assert [(lr[0, 0, 0], hr[0, 0, 0]) for lr, hr in map(samples.__getitem__, range(3))] == [(0, 0), (1, 1), (2, 2)]
    assert samples.lr_path(1).name == "img10x2.png"
    assert len(paired(tmp_path / "lr", tmp_path / "hr", first_k=2)) == 2
    (tmp_path / "lr/img10x2.png").unlink()
    mistake(lambda: paired(tmp_path / "lr", tmp_path / "hr"), "hr/img10.png has no partner")


def test_pictures_of_one_name_in_several_folders_are_apart(tmp_path) -> None:
    split = tmp_path / "split.json"
    split.write_text('{"all": ["a/1.png", "b/1.png"]}')
    for i, name in enumerate(("a", "b")):
        for root in ("lr", "hr"):
            write(tmp_path / root / name / "1.png", i)
    chosen = {"split_file": str(split), "split_key": "all"}
    for cache in ("none", "bin", "bin"):  # the second time from the copies
        samples = paired(tmp_path / "lr", tmp_path / "hr", cache=cache, **chosen)
        assert [(lr[0, 0, 0], hr[0, 0, 0]) for lr, hr in map(samples.__getitem__, range(2))] == [(0, 0), (1, 1)]
        assert [p[0, 0, 0] for p in map(folder(tmp_path / "lr", cache=cache, **chosen).__getitem__, (0, 1))] == [0, 1]


def test_several_pictures_of_one_in_div2k_wild() -> None:
    lr = [Path(f"lr/0801x4w{number}.png") for number in (1, 2, 3, 4)]
    assert pair_names(Path("lr"), lr, Path("hr"), [Path("hr/0801.png")]) == [(path, Path("hr/0801.png")) for path in lr]


def test_one_folder_of_both_as_huangs() -> None:
    paths = [Path(f"both/img_{number}_SRF_4_{side}.png") for number in ("001", "002") for side in ("HR", "LR")]
    assert pair_names(Path("both"), paths, Path("both"), paths) == [(paths[1], paths[0]), (paths[3], paths[2])]
    assert pair_names(Path("both"), paths[:1], Path("both"), paths[:1]) == [(paths[0], paths[0])]
