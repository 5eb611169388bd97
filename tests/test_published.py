"""Published training configs run as they are, with the paths of data set alone."""

import pytest

from tests.published import make_pictures, outcome

FEW = (
    "lmf/configs/train-original/train_edsr-baseline-x3.yaml",
    "lte/configs/train-div2k/train_edsr-baseline-lte-fast.yaml",
    "liif/configs/train-celebAHQ/train_celebAHQ-32-256_liif.yaml",
)
NOWHERE = "lte/configs/train-div2k/train_swinir-liif.yaml"  # names swinir where liif is meant


@pytest.mark.parametrize("name", FEW)
def test_published_configs_take_a_step(name, shared, tmp_path) -> None:
    make_pictures(tmp_path)
    assert outcome(shared / "published" / name, tmp_path) == "runs"


@pytest.mark.thorough
def test_all_published_configs_take_a_step(shared, tmp_path) -> None:
    make_pictures(tmp_path)
    paths = sorted((shared / "published").rglob("train*.yaml"))
    outcomes = {str(path.relative_to(shared / "published")): outcome(path, tmp_path) for path in paths}
    assert {path for path, words in outcomes.items() if words != "runs"} == {NOWHERE}
    assert "encoder_spec" in outcomes[NOWHERE]
