"""Published test and CMSR files run as they are, with data paths set on the command line."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

import init_cmsr
import test
from tests.commands import ROOT, call

pytestmark = pytest.mark.usefixtures("empty_folder")
HR_SIDE = 120  # of which div2k-30 leaves 48 pixels


@pytest.fixture
def data(tmp_path) -> Path:
    """HR, and LR/X2 to X4, of one picture."""
    with Image.open(ROOT / "load/samples/coffee.png") as picture:
        hr = picture.convert("RGB").crop((100, 100, 100 + HR_SIDE, 100 + HR_SIDE))
    for factor in (1, 2, 3, 4):
        folder = tmp_path / ("HR" if factor == 1 else f"LR/X{factor}")
        folder.mkdir(parents=True)
        hr.resize((HR_SIDE // factor, HR_SIDE // factor), Image.Resampling.BICUBIC).save(folder / "a.png")
    return tmp_path


def changes(config: Path, data: Path) -> list[str]:
    """`--set` for the folders that a file names, and for its list of pictures."""
    (dataset,) = (spec["dataset"] for spec in [yaml.safe_load(config.read_text())["test_dataset"]])
    changed = {}
    for key, path in dataset["args"].items():
        if key == "root_path_1":
            changed[key] = data / "LR" / (Path(path).name if "X" in path else "X4")
        elif key.startswith("root_path"):
            changed[key] = data / "HR"
        elif key == "split_file":
            changed[key] = "null"
            changed["split_key"] = "null"
    return [part for key, value in changed.items() for part in ("--set", f"test_dataset.dataset.args.{key}={value}")]


@pytest.mark.parametrize("program", ["lmf", "liif", "lte"])
def test_every_published_test_file_runs(shared, data, program, capsys) -> None:
    files = sorted((shared / "published" / program / "configs").glob("test*/*.yaml"))
    assert len(files) >= 20
    for number, config in enumerate(files):
        options = ("--config", config, "--model", "nearest", "--json", f"{number}.json", "--device", "cpu")
        call(test, *options, "--metrics", "psnr", *changes(config, data))
        assert "mean" in capsys.readouterr().out, config


def test_every_published_cmsr_file_runs(shared, data, checkpoint) -> None:
    files = sorted((shared / "published/lmf/configs/cmsr").glob("init*.yaml"))
    assert len(files) == 6
    for config in files:
        call(init_cmsr, "--config", config, "--model", checkpoint, "--save_path", "t.yaml", *changes(config, data))
    assert sorted(yaml.safe_load(Path("t.yaml").read_text())["scale2mod"]) == [2, 3, 4, 6, 12, 18]
