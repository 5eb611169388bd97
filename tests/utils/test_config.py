"""Configs: extends, overrides, one-line errors."""

import math
from pathlib import Path

import pytest
import yaml

import datasets
import models
from models.cmsr.tables import load_table
from utils.config import (
    MAPPING,
    NUMBER,
    NUMBERS,
    TEXT,
    check_keys,
    check_types,
    find_configs,
    load_config,
    merge,
    read_yaml,
    whole,
    write_yaml,
)
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


def test_exponents_are_numbers(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1e-4\nb: -2.5E3\nc: 1e\nd: 12\ne: .5e2\nf: -.inf")
    config = load_config(tmp_path / "c.yaml", ["g=3e-5"])
    assert config == {"a": 1e-4, "b": -2500.0, "c": "1e", "d": 12, "e": 50.0, "f": -math.inf, "g": 3e-5}


def test_another_name_replaces_its_arguments() -> None:
    old = {"encoder": {"name": "edsr", "args": {"n_feats": 8}}}
    assert merge(old, {"encoder": {"name": "rdn"}}) == {"encoder": {"name": "rdn"}}
    assert merge(old, {"encoder": {"args": {"scale": 2}}})["encoder"]["args"] == {"n_feats": 8, "scale": 2}


def test_overrides_read_values_as_yaml(tmp_path) -> None:
    config = load_config(write(tmp_path / "c.yaml", a={"x": 1}), ["a.x=2.5", "a.z=[1, 2]", "b=true"])
    assert config == {"a": {"x": 2.5, "z": [1, 2]}, "b": True}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"a": {"n": 1.5}}, "a.n is 1.5; expected a whole number from 1"),
        ({"a": {"n": True}}, "a.n is True; expected a whole number"),
        ({"a": {"n": 0}}, "a.n is 0; expected"),
        ({"a": 3}, "a is 3; expected a mapping"),
        ({"b": [1, "x"]}, "b is .* expected a list of numbers"),
        ({"c": 3}, "c is 3; expected text"),
        *(({"d": value}, "d is .*; expected a number") for value in (math.nan, math.inf, -math.inf, 1e300, "2", True)),
        (3, "mapping"),
    ],
)
def test_values_of_the_wrong_kind(config, words) -> None:
    kinds = {"a": MAPPING, "a.n": whole(1), "b": NUMBERS, "c": TEXT, "d": NUMBER}
    check_types({"a": {"n": 3}, "b": [1, 2.5], "c": None}, kinds, "c.yaml")
    with pytest.raises(InputError, match=words):
        check_types(config, kinds, "c.yaml")


def test_keys_and_overrides_that_are_none(tmp_path) -> None:
    with pytest.raises(InputError, match="expected key"):
        load_config(write(tmp_path / "d.yaml", a=1), ["a"])
    with pytest.raises(InputError, match="did you mean 'epoch_max'"):
        check_keys({"epoch_mx": 3}, ["epoch_max", "model"], "c.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train-*/train_*.yaml")), ids=lambda p: p.stem)
def test_every_training_config_builds_its_model_and_samples(path, pictures) -> None:
    from training.setup import KINDS

    config = load_config(path)
    check_types(config, KINDS, str(path))
    assert {kind.split(".")[0] for kind in KINDS} >= config.keys()
    assert isinstance(models.make(config["model"]), models.ContinuousModel)
    for key in ("train_dataset", "val_dataset"):
        arguments = config[key]["dataset"]["args"]
        for part in (part["args"] for part in arguments.get("parts", [{"args": arguments}])):
            part.update(root_path=str(pictures), cache="none")
        assert len(datasets.make_wrapped(config[key], key)) > 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", "010"), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"), ("0x10", "0x10"), ("1_000", "1_000"), ("0", 0)],
)
def test_values_are_what_is_written(tmp_path, text, value) -> None:
    (tmp_path / "c.yaml").write_text(f"a: {text}\n")
    assert load_config(tmp_path / "c.yaml", [f"b={text}"]) == {"a": value, "b": value}


def test_elements_of_lists_are_changed_by_their_number(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("parts: [{name: a, args: {n: 1, m: 2}}, {name: b}]\nsides: [1, 2]\n")
    config = load_config(tmp_path / "c.yaml", ["parts.0.args.n=5", "parts.1.name=c", "sides.1=7"])
    assert config == {"parts": [{"name": "a", "args": {"n": 5, "m": 2}}, {"name": "c"}], "sides": [1, 7]}
    for path in ("parts.2.name", "parts.name", "parts.-1", "sides.1e0"):
        with pytest.raises(InputError, match="not an element of a list of 2"):
            load_config(tmp_path / "c.yaml", [f"{path}=x"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not YAML"),
        ("just text", "not a mapping"),
        ("- a\n- b", "not a mapping"),
        ("extends: nothere.yaml", "nothere.yaml; check the name"),
        ("extends: c.yaml", "extends itself"),
        ("a: 1\nb: 2\na: 3", "'a' stands twice"),
        ("x: {a: 1, a: 1}", "'a' stands twice"),
        ("? [1, 2]\n: 3", "cannot be read"),
        ("a: " + "[" * 1500 + "]" * 1500, "not YAML"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("a: " + "x" * (1 << 18), "longer than 128 KiB"),
        ("extends: /dev/zero", "device or pipe"),
        ('extends: "a\\0b"', "cannot be read"),
        ("extends: loop", "cannot be read"),
        ("extends: [3]", "a file or a list of files"),
    ],
)
def test_hostile_configs_are_one_short_line(tmp_path, text, words) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "c.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["123456e78901", "12e4", "010", "1", "1.5", "true", "null", "1:30", "2026-01-02", "~", "x"]
)
def test_texts_are_written_so_that_they_are_read_as_texts(text) -> None:
    """Twelve hexadecimal digits of a hash can look like a number."""
    content = {"model": text, "number": 1e-5, "rest": [2, None, True, float("inf")]}
    assert read_yaml(write_yaml(content)) == content


def test_files_that_are_no_scale_tables(tmp_path) -> None:
    for text in ("6: {1: .nan, 6: 1}", ".inf: {1: 0.5}", "6: {.inf: 1}", "6: {1: -1}"):
        (tmp_path / "t.yaml").write_text(text)
        with pytest.raises(InputError, match=r"t\.yaml is no scale2mod table"):
            load_table(tmp_path / "t.yaml")


def test_configs_of_a_listing_are_found_by_name(tmp_path, monkeypatch) -> None:
    """As files are, and a file of the name stands before them."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("a: 1\nb: {c: 2, d: 3}")
    Path("variants.yaml").write_text("one: {extends: base.yaml, b: {c: 5}}\ntwo: {extends: one.yaml, a: 7}\nthree: 3")
    assert load_config("two.yaml", ["b.d=4"]) == {"a": 7, "b": {"c": 5, "d": 4}}
    assert find_configs("t*.yaml") == [Path("three.yaml"), Path("two.yaml")]
    Path("one.yaml").write_text("a: 9")
    assert load_config("two.yaml") == {"a": 7}
    assert find_configs("*.yaml") == [Path(f"{name}.yaml") for name in ("base", "one", "three", "two")]
    for name in ("three.yaml", "four.yaml"):
        with pytest.raises(InputError, match=name):
            load_config(name)
