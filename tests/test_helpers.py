"""The tests' own helpers: packed golden cases, pairs of parameters, published configs."""

import json
from itertools import combinations, product

import numpy as np
import pytest

from tests.golden_cases import FOLDER, arrays, manifest
from tests.pairs import paired
from tests.published import make_pictures, outcome

FEW = (
    "lmf/configs/train-original/train_edsr-baseline-x3.yaml",
    "lte/configs/train-div2k/train_edsr-baseline-lte-fast.yaml",
    "liif/configs/train-celebAHQ/train_celebAHQ-32-256_liif.yaml",
)
NOWHERE = "lte/configs/train-div2k/train_swinir-liif.yaml"  # names swinir where liif is meant


@pytest.mark.parametrize("kind", ["models", "cmsr", "lerf"])
def test_golden_cases_are_the_published_ones(shared, kind: str) -> None:
    cases = json.loads((shared / "golden" / kind / "manifest.json").read_text())
    assert [case["name"] for case in cases] == list(manifest(kind))
    for path in (shared / "golden" / kind).glob("*.npz"):
        packed = arrays(kind, path.stem)
        with np.load(path) as stored:
            assert packed.keys() == set(stored.files)
            for key in stored.files:
                np.testing.assert_array_equal(packed[key].numpy(), stored[key], f"{path.name}: {key}")
    for name in ("bicubic_set5_metrics.json", "lerf-g.metrics.json"):
        assert json.loads((FOLDER / name).read_text()) == json.loads((shared / "golden" / name).read_text())


def test_every_two_values_meet() -> None:
    axes = (["a", "b", "c", "d"], [1, 2, 3, 4], [("--x", 5), ("--y", 6), ("--z", 7)], [True])
    cases = paired(*axes)
    assert [case.values for case in cases] == list(product(*axes))
    assert cases[0].id == "a-1---x 5-True"
    kept = [case.values for case in cases if not case.marks]
    assert len(kept) == 16
    for one, other in combinations(range(len(axes)), 2):
        assert {(values[one], values[other]) for values in kept} == set(product(axes[one], axes[other]))


@pytest.mark.parametrize(
    "names", [pytest.param(FEW, id="few"), pytest.param(None, marks=pytest.mark.thorough, id="all")]
)
def test_published_configs_take_a_step(names, shared, tmp_path) -> None:
    """With the paths of data set alone."""
    make_pictures(tmp_path)
    published = shared / "published"
    names = names or sorted(str(path.relative_to(published)) for path in published.rglob("train*.yaml"))
    outcomes = {name: outcome(published / name, tmp_path) for name in names}
    assert {name for name, words in outcomes.items() if words != "runs"} == {NOWHERE} & set(names)
    assert "encoder_spec" in outcomes.get(NOWHERE, "encoder_spec")
