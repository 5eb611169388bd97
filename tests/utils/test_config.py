"""Configs: extends, overrides, one-line errors."""

from pathlib import Path

import pytest
import yaml

import datasets
import models
from utils.config import check_keys, check_types, load_config, merge
from utils.errors import InputError
from utils.kinds import MAPPING, NUMBERS, TEXT, whole

CONFIGS = Path(__file__).parents[2] / "configs"


def write(path: Path, **content) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_extends_merges_deeply_and_relative_to_the_file(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "base.yaml", a={"x": 1, "y": 2}, b=[1, 2], c=3)
    child = write(tmp_path / "sub" / "child.yaml", extends="../base.yaml", a={"y": 5}, b=[9])
    assert load_config(child) == {"a": {"x": 1, "y": 5}, "b": [9], "c": 3}


def test_exponents_are_numbers(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1e-4\nb: -2.5E3\nc: 1e\nd: 12\ne: .5e2")
    config = load_config(tmp_path / "c.yaml", ["f=3e-5"])
    assert config == {"a": 1e-4, "b": -2500.0, "c": "1e", "d": 12, "e": 50.0, "f": 3e-5}


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


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"a": {"n": 1.5}}, "a.n is 1.5; expected a whole number from 1"),
        ({"a": {"n": True}}, "a.n is True; expected a whole number"),
        ({"a": {"n": 0}}, "a.n is 0; expected"),
        ({"a": 3}, "a is 3; expected a mapping"),
        ({"b": [1, "x"]}, "b is .* expected a list of numbers"),
        ({"c": 3}, "c is 3; expected text"),
        (3, "mapping"),
    ],
)
def test_values_of_the_wrong_kind(config, words) -> None:
    kinds = {"a": MAPPING, "a.n": whole(1), "b": NUMBERS, "c": TEXT}
    check_types({"a": {"n": 3}, "b": [1, 2.5], "c": None}, kinds, "c.yaml")
    with pytest.raises(InputError, match=words):
        check_types(config, kinds, "c.yaml")


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
def test_every_training_config_builds_its_model_and_samples(path, pictures) -> None:
    from training.run import KINDS

    config = load_config(path)
    check_types(config, KINDS, str(path))
    assert {kind.split(".")[0] for kind in KINDS} >= config.keys()
    assert isinstance(models.make(config["model"]), models.ContinuousModel)
    for key in ("train_dataset", "val_dataset"):
        config[key]["dataset"]["args"].update(root_path=str(pictures), cache="none")
        assert len(datasets.make_wrapped(config[key], key)) > 0
