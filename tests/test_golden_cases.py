"""The packed cases are those of the published programs."""

import json

import numpy as np
import pytest

from tests.golden_cases import FOLDER, arrays, manifest


@pytest.mark.parametrize("kind", ["models", "cmsr", "lerf"])
def test_cases_are_the_published_ones(shared, kind: str) -> None:
    cases = json.loads((shared / "golden" / kind / "manifest.json").read_text())
    assert [case["name"] for case in cases] == list(manifest(kind))
    for path in (shared / "golden" / kind).glob("*.npz"):
        packed = arrays(kind, path.stem)
        with np.load(path) as stored:
            assert packed.keys() == set(stored.files)
            for key in stored.files:
                np.testing.assert_array_equal(packed[key].numpy(), stored[key], f"{path.name}: {key}")


@pytest.mark.parametrize("name", ["bicubic_set5_metrics.json", "lerf-g.metrics.json"])
def test_scores_are_the_published_ones(shared, name: str) -> None:
    assert json.loads((FOLDER / name).read_text()) == json.loads((shared / "golden" / name).read_text())
