"""Configs: extends, overrides, one-line errors."""

from pathlib import Path

import pytest
import yaml

import datasets
import models
from utils.config import check_keys, load_config, merge
from utils.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(path: Path, **content) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_extends_merges_deeply_and_relative_to_the_file(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "base.yaml", a={"x": 1, "y": 2}, b=[1, 2], c=3)
    child = write(tmp_path / "sub" / "child.yaml", extends="../base.yaml", a={"y": 5}, b=[9])
    assert load_config(child) == {"a": {"x": 1, "y": 5}, "b": [9], "c": 3}


def test_another_name_replaces_its_arguments() -> None:
    old = {"encoder": {"name": "edsr", "args": {"n_feats": 8}}}
    assert merge(old, {"encoder": {"name": "rdn"}}) == {"encoder": {"name": "rdn"}}
    assert merge(old, {"encoder": {"args": {"scale": 2}}})["encoder"]["args"] == {"n_feats": 8, "scale": 2}


def test_overrides_read_values_as_yaml(tmp_path) -> None:
    config = load_config(write(tmp_path / "c.yaml", a={"x": 1}), ["a.x=2.5", "a.z=[1, 2]", "b=true"])
    assert config == {"a": {"x": 2.5, "z": [1, 2]}, "b": True}


@pytest.mark.parametrize("text", ["a: [1", "just text", "- a\n- b"])
def test_files_that_are_no_configs(tmp_path, text) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml") as caught:
        load_config(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_missing_file_cycle_override_and_key(tmp_path) -> None:
    with pytest.raises(InputError, match=r"nothere\.yaml"):
        load_config(tmp_path / "nothere.yaml")
    with pytest.raises(InputError, match="extends itself"):
        load_config(write(tmp_path / "c.yaml", extends="c.yaml"))
    with pytest.raises(InputError, match="expected key"):
        load_config(write(tmp_path / "d.yaml", a=1), ["a"])
    with pytest.raises(InputError, match="did you mean 'epoch_max'"):
        check_keys({"epoch_mx": 3}, ["epoch_max", "model"], "c.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train-*/train_*.yaml")), ids=lambda p: p.stem)
def test_every_training_config_builds_its_model(path) -> None:
    import train

    config = load_config(path)
    check_keys(config, train.KEYS, str(path))
    assert isinstance(models.make(config["model"]), models.ContinuousModel)
    for key in ("train_dataset", "val_dataset"):
        for part in ("dataset", "wrapper"):
            assert config[key][part]["name"] in datasets.registry.factories
