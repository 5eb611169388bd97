"""init_cmsr.py and --cmsr as users call them."""

import json
import re
import signal
from pathlib import Path

import pytest
import yaml
from PIL import Image

import demo
import init_cmsr
import test
from models.cmsr import calibration
from tests.commands import ROOT, call, mistake
from utils.processes import Stopped

GOLDEN = ROOT / "tests/golden/cmsr_tables"
pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def table(pictures, checkpoint) -> Path:
    """A scale2mod table of the small model."""
    samples = {
        "dataset": {"name": "image-folder", "args": {"root_path": str(pictures)}},
        "wrapper": {"name": "sr-implicit-downsampled", "args": {"inp_size": 16, "scale_min": 2}},
    }
    Path("init.yaml").write_text(yaml.safe_dump({"dataset": samples}))
    options = ("--config", "init.yaml", "--model", checkpoint, "--save_path", "t.yaml")
    call(init_cmsr, *options, "--scales", "6", "--mse_threshold", "1e-3")
    call(init_cmsr, *options, "--scales", "5.5", "--mse_threshold", "1e-3")
    return Path("t.yaml")


def test_tables_are_made_extended_and_used(table, pictures, checkpoint, capsys) -> None:
    content = yaml.safe_load(table.read_text())
    assert list(content["scale2mod"]) == [5.5, 6]
    assert content["rule"] == "published"
    assert content["data"] == "init.yaml"
    cmsr = ("--model", checkpoint, "--cmsr", "True", "--cmsr_path", table)
    call(demo, "--input", pictures / "a.png", "--output", "o.png", "--scale", 6, *cmsr, "--cmsr-map", "map.png")
    out = capsys.readouterr().out
    assert re.search(r"CMSR: [\d.]+% of the queries", out)
    assert Image.open("o.png").size == Image.open("map.png").size == (288, 384)
    Path("c.yaml").write_text(yaml.safe_dump({"scales": [3, 8], "datasets": {"X": {"hr": str(pictures)}}}))
    call(test, "--config", "c.yaml", "--json", "r.json", *cmsr, "--cmsr-from", 2)
    out = capsys.readouterr().out
    assert "ends at x6" in out
    assert "of the decoder time" in out
    scores = json.loads(Path("r.json").read_text())["results"][0]["mean"]["small+cmsr"]
    assert {"psnr", "share", "decoder_seconds", "psnr_to_full"} <= scores.keys()


@pytest.mark.parametrize("error", ["2e-5", "1e-4"])
@pytest.mark.parametrize("form", ["as in train configs", "left-over name", "nested"])
def test_published_tables_by_published_configs(error, form) -> None:
    """Tables that LMF's program made, targets one after another into one file."""
    published = yaml.safe_load((GOLDEN / f"table_{error}.yaml").read_text())
    targets = list(published) if form == "nested" else list(published)[:2]
    for target in targets:
        samples = {
            "dataset": {"name": "image-folder", "args": {"root_path": str(GOLDEN / "pictures")}},
            "wrapper": {"name": "sr-implicit-downsampled", "args": {"scale_min": target, "scale_max": target}},
            "batch_size": 1,
        }
        config = {"test_dataset": samples, "eval_type": f"div2k-{target}", "eval_bsize": 30000}
        if form == "left-over name":
            config = {"init-div2k-x4": {"yaml": None}, **config}
        if form == "nested":
            config = {f"init-div2k-x{target}": config}
        Path(f"x{target}.yaml").write_text(yaml.safe_dump(config))
        options = ("--model", GOLDEN / "model.pth", "--mse_threshold", error, "--save_path", "t.yaml")
        call(init_cmsr, "--config", f"x{target}.yaml", *options)
    made = yaml.safe_load(Path("t.yaml").read_text())
    assert made["data"] == ", ".join(f"x{target}.yaml" for target in targets)
    assert made["scale2mod"] == {target: pytest.approx(published[target], abs=0.005) for target in targets}


def test_a_signal_leaves_the_targets_that_are_done(table, checkpoint, monkeypatch) -> None:
    options = ("--config", "init.yaml", "--model", checkpoint, "--mse_threshold", "1e-3", "--save_path", "new.yaml")
    measured = []

    def measure(upscaler, latent, target, *arguments):
        measured.append(target)
        if len(measured) == 5:
            signal.raise_signal(signal.SIGTERM)
        return level_errors(upscaler, latent, target, *arguments)

    level_errors = calibration.level_errors
    monkeypatch.setattr(calibration, "level_errors", measure)
    with pytest.raises(Stopped, match=r"--scales 5\.5,7 goes on") as stopped:
        call(init_cmsr, *options, "--scales", "6,5.5,7")
    assert stopped.value.status == 143
    assert list(yaml.safe_load(Path("new.yaml").read_text())["scale2mod"]) == [6]
    call(init_cmsr, *options, "--scales", "5.5")
    new, old = (yaml.safe_load(Path(name).read_text())["scale2mod"] for name in ("new.yaml", "t.yaml"))
    assert new == old


def test_up_to_the_trained_scale_everything_is_rendered(table, pictures, checkpoint, capsys) -> None:
    cmsr = ("--model", checkpoint, "--cmsr", "--cmsr_path", table)
    call(demo, "--input", pictures / "a.png", "--output", "o.png", "--scale", 4, *cmsr)
    assert "100.0% of the queries" in capsys.readouterr().out


def test_mistakes_with_tables(table, pictures, checkpoint, capsys) -> None:
    options = {
        "--input": pictures / "a.png",
        "--output": "o.png",
        "--scale": 6,
        "--model": checkpoint,
        "--cmsr_path": table,
    }
    Path("bad.yaml").write_text("just text")
    cases = [
        ({"--cmsr_path": "nothere.yaml"}, "nothere.yaml"),
        ({"--cmsr_path": "bad.yaml"}, "bad.yaml"),
        ({"--cmsr_mse": -1}, "--cmsr_mse"),
        ({"--model": "bicubic"}, "LM-LIIF"),
        ({"--cmsr_path": None}, "configs/cmsr/result/small.yaml"),
        ({"--cmsr_path": None, "--cmsr_mse": 2e-5}, "configs/cmsr/result/small_2e-05.yaml"),
    ]
    for change, word in cases:
        given = {key: value for key, value in {**options, **change}.items() if value is not None}
        assert word in mistake(capsys, demo, *(part for pair in given.items() for part in pair), "--cmsr")
    for content, words in (
        ({"test_dataset": 3}, "test_dataset is 3"),
        ({"test_dataset": {"wrapper": 4}}, "wrapper is 4"),
    ):
        Path("wrong.yaml").write_text(yaml.safe_dump(content))
        line = mistake(capsys, init_cmsr, "--config", "wrong.yaml", "--model", checkpoint, "--save_path", "n.yaml")
        assert words in line
    init = ("--config", "init.yaml", "--model", checkpoint, "--scales", "6")
    for wrong in ("-1", "nan", "inf"):
        line = mistake(capsys, init_cmsr, *init, "--save_path", "n.yaml", "--mse_threshold", wrong)
        assert f"--mse_threshold {wrong}: expected a number from 0" in line
    assert "--force" in mistake(capsys, init_cmsr, *init, "--save_path", table, "--mse_threshold", "2e-3")
    assert not Path("o.png").exists()
    assert not Path("n.yaml").exists()


def test_models_that_cannot_be_controlled_stand_beside(table, pictures, checkpoint, capsys) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"scales": [6], "datasets": {"X": {"hr": str(pictures)}}}))
    options = ("--config", "c.yaml", "--json", "r.json", "--cmsr", "--cmsr_path", table)
    call(test, *options, "--model", "bicubic", checkpoint)
    assert set(json.loads(Path("r.json").read_text())["results"][0]["mean"]) == {"bicubic", "small", "small+cmsr"}
    assert "none of the models" in mistake(capsys, test, *options, "--model", "bicubic", "--overwrite")
