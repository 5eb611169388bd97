"""The short names of shipped weights."""

import pytest

from models import load_upscaler, names, zoo
from tests.commands import ROOT
from utils.errors import InputError


@pytest.mark.parametrize("name", zoo.zoo())
def test_every_entry_is_there_as_listed_and_loads(name, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert zoo.from_zoo(name).is_relative_to(ROOT / "save/pretrained_models")
    assert load_upscaler(name).model
    assert name not in names("resampling")


def test_a_name_is_no_file_and_a_file_is_no_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").write_text("")
    assert zoo.from_zoo("s") != "s"
    assert zoo.from_zoo("./s") == "./s"
    assert zoo.from_zoo("x.pth") == "x.pth"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'xyz'; shipped models: s, lerf-g, lerf-l\S*.*; filters: bicubic"):
        load_upscaler("xyz")
    with pytest.raises(InputError, match="did you mean 'lerf-g'"):
        load_upscaler("lerfg")


def test_a_file_that_is_another_is_not_taken(tmp_path, monkeypatch) -> None:
    entry = "a:\n  file: {}\n  sha256: '{}'\n  bytes: {}\n  about: a\n"
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "zoo.yaml")
    monkeypatch.setattr(zoo, "PROJECT", tmp_path)
    (tmp_path / "a.pth").write_bytes(b"abc")
    for content, words in (("a.pth", "is not the file"), ("b.pth", "is not there")):
        (tmp_path / "zoo.yaml").write_text(entry.format(content, "0" * 64, 3))
        zoo.zoo.cache_clear()
        with pytest.raises(InputError, match=words):
            zoo.from_zoo("a")
    zoo.zoo.cache_clear()
