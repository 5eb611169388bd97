"""Pairs LR and HR pictures by their names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from utils.errors import InputError

# What the usual data sets add to a picture's name: baby.png and babyx2.png, baby_HR.png and baby_LRBI_x2.png,
# img_001_SRF_2_HR.png and img_001_SRF_2_LR.png, 0001x3.5.png, 0801x4m.png (DIV2K mild), Canon_001_LR4.png (RealSR),
# baby_bicLRx4.png (BasicSR).
SUFFIX = re.compile(
    r"[-_. ]?(x\d+(\.\d+)?[md]?|x\d+w\d?|hr|gt|(bic)?lr(bi|bd|dn|\d+)?|bic(ubic)?|srf[-_ ]?\d+)$", re.IGNORECASE
)
WILD = re.compile(r"x\d+w\d$", re.IGNORECASE)  # DIV2K wild: 0801x4w1.png to 0801x4w4.png are all of 0801.png
SIDE = re.compile(r"[-_](hr|gt|lr)\d*$", re.IGNORECASE)  # Huang's data sets have both in one folder


def pair_names(lr_root: Path, lr: Sequence[Path], hr_root: Path, hr: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Every LR picture below `lr_root` with the HR picture below `hr_root` of its name, in the order of `hr`; names may
    end in usual suffixes.

    The whole name counts most: with box2.png there, box2.png and box2x3.png are its partners, not box.png's.
    Where both are one folder, names may end in _HR and _LR. InputError names a file that has no partner, or that two
    files claim, other than the several LR pictures of DIV2K wild.
    """
    if lr_root.resolve() == hr_root.resolve():
        sides = {path: match[1].lower() for path in hr if (match := SIDE.search(path.stem))}
        if "lr" in sides.values():
            lr = [path for path, side in sides.items() if side == "lr"]
            hr = [path for path, side in sides.items() if side != "lr"]
    named: dict[str, list[tuple[int, Path]]] = {}
    for path in hr:
        for depth, name in enumerate(_names(path, hr_root)):
            named.setdefault(name, []).append((depth, path))
    lr_of: dict[Path, list[Path]] = {}
    for path in lr:
        candidates = next((named[name] for name in _names(path, lr_root) if name in named), None)
        if candidates is None:
            raise InputError(f"{path} has no partner: no HR picture in {hr_root} has its name")
        least = min(depth for depth, _ in candidates)
        partner, *others = (candidate for depth, candidate in candidates if depth == least)
        if others:
            raise InputError(f"{path} could belong to {partner} and to {others[0]}; rename or remove one")
        if partner in lr_of and not WILD.search(path.stem):
            raise InputError(f"{lr_of[partner][0]} and {path} both belong to {partner}; rename or remove one")
        lr_of.setdefault(partner, []).append(path)
    for path in hr:
        if path not in lr_of:
            raise InputError(f"{path} has no partner: no LR picture in {lr_root} has its name")
    return [(lr_path, path) for path in hr for lr_path in lr_of[path]]


def _names(path: Path, root: Path) -> Iterator[str]:
    """The path in `root` without ending, then without its last suffix, and so on while something remains."""
    name, longer = str(path.relative_to(root).with_suffix("")), ""
    while name not in ("", longer):
        yield name
        name, longer = SUFFIX.sub("", name), name
