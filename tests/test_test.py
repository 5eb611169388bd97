"""test.py as users call it: tables, JSON, pictures, and one line for every mistake."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import demo
import test
from evaluation.tasks import Task, load_test_config
from tests.commands import call, mistake
from tests.measuring import measure, refused, results, write, write_config
from tools import make_benchmark
from utils import cli

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_results_as_table_json_and_pictures(pictures, checkpoint, capsys) -> None:
    write_config({"protocol": "benchmark", "scales": [2, 3], "datasets": {"Noise": {"hr": str(pictures)}}})
    measure("bicubic", checkpoint, "--json", "r.json", "--save-images", "out")
    out = capsys.readouterr().out
    assert all(word in out for word in ("Noise x2", "Noise x3", "a.png", "mean", "small", "Pillow", "luma"))
    report = results()
    assert {"device", "versions", "models"} <= report.keys()
    assert len(report["models"]["small"]["weights_hash"]) == 12
    assert report["models"]["small"]["precision"] == "float32"
    first = report["results"][0]
    assert (first["dataset"], first["scale"], first["protocol"], first["quantised"]) == ("Noise", 2, "benchmark", False)
    scores = [row["bicubic"]["psnr"] for row in first["pictures"].values()]
    assert first["mean"]["bicubic"]["psnr"] == pytest.approx(sum(scores) / 3)
    assert Image.open("out/Noise/x3/small/a.png").size == (48, 63)


def test_a_signal_leaves_what_was_measured(pictures, monkeypatch, capsys) -> None:
    def interrupted(task, *arguments):
        if "measured" in measured:
            signal.raise_signal(signal.SIGTERM)
        measured.append("measured")
        return measure_of_task(task, *arguments)

    measured, measure_of_task = [], Task.measure
    monkeypatch.setattr(Task, "measure", interrupted)
    write({"Own": {"hr": str(pictures)}})
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda _: measure("bicubic", "--json", "r.json"))
    assert ended.value.code == 143
    assert capsys.readouterr().err.endswith("stopped by SIGTERM; r.json holds what was measured\n")
    report = results()
    assert not report["complete"]
    assert list(report["results"][0]["pictures"]) == ["a.png"]


def test_lr_pictures_from_files_and_authors_configs(pictures, tmp_path, capsys) -> None:
    for path in pictures.iterdir():
        picture = Image.open(path)
        lr = tmp_path / f"lr/X2/{path.name}"
        lr.parent.mkdir(parents=True, exist_ok=True)
        picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST).save(lr)
    ours = {"protocol": "rgb", "scales": [2], "datasets": {"N": {"hr": str(pictures), "lr": "lr/X{scale}"}}}
    pairs = {"name": "paired-image-folders", "args": {"root_path_1": "lr/X2", "root_path_2": str(pictures)}}
    samples = {"dataset": pairs, "wrapper": {"name": "sr-implicit-paired"}, "batch_size": 1}
    theirs = {"test_dataset": samples, "eval_type": None, "eval_bsize": 500}
    reports = []
    for config in (ours, theirs):
        write_config(config)
        measure("nearest", "--json", "r.json", "--fast", config is ours, "--overwrite")
        reports.append(results()["results"][0])
    assert reports[0]["pictures"] == reports[1]["pictures"]
    assert "X2" in reports[0]["lr_source"]
    assert reports[1]["lr_source"] == "from files"
    write({"X": {"hr": str(pictures), "lr": str(pictures)}})
    assert "by the scale 2" in refused(capsys, "bicubic")


def test_pairs_of_scales_and_warps(pictures, capsys) -> None:
    call(make_benchmark, pictures, "--scales", "1.5x2", "--warps", "isc", "--output", ".")
    sets = {"Own": {"hr": str(pictures), "warp": "{warp}"}}
    config = {"protocol": "lerf", "scales": [2, "1.5x2"], "warps": ["isc"], "datasets": sets}
    write_config(config)
    measure("bicubic", "nearest", "--json", "made.json", "--save-images", "out")
    out = capsys.readouterr().out
    assert all(words in out for words in ("Own x2, PSNR/SSIM", "Own x1.5x2, PSNR/SSIM", "Own isc, mPSNR"))
    config["datasets"]["Own"]["lr"] = "LR_bicubic/rrLR_X{height:.2f}_{width:.2f}"
    config["scales"] = ["1.5x2"]
    write_config(config)
    measure("bicubic", "--json", "files.json")
    made, files = (results(name)["results"] for name in ("made.json", "files.json"))
    assert [(r["scale"], r["warp"]) for r in made] == [(2, None), ([1.5, 2], None), (None, "isc")]
    assert made[1]["mean"]["bicubic"]["psnr"] == pytest.approx(files[0]["mean"]["bicubic"]["psnr"], abs=0.3)
    assert made[2]["mean"]["bicubic"] == files[1]["mean"]["bicubic"]
    assert made[2]["mean"]["bicubic"]["mpsnr"] > made[2]["mean"]["nearest"]["mpsnr"]
    assert Image.open("out/Own/isc/bicubic/a.png").size == (48, 64)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"protocol": "benchmrk", "scales": [2], "datasets": {}}, ["benchmrk"]),
        ({"scales": [2], "datasets": {"X": {"hr": "nothere"}}}, ["nothere"]),
        ({"scales": [2], "datasets": {"X": {"hd": "nothere"}}}, ["'hd'", "hr"]),
        ({"scale": [2]}, ["'scales'"]),
        ({"scales": [], "datasets": {"X": {"hr": "nothere"}}}, ["scales"]),
        ({"scales": [2], "datasets": ["X"]}, ["datasets", "mapping"]),
        ({"scales": [2], "datasets": {"X": {"hr": "h", "lr": "{x}"}}}, ["{x}", "{scale}"]),
        ({"test_dataset": {}, "datasets": {}}, ["alone"]),
        ({"scales": ["2q"], "datasets": {"X": {"hr": "h"}}}, ["2q", "3x1.5"]),
        ({"warps": ["isc"], "datasets": {"X": {"hr": "h"}}}, ["datasets.X", "'warp'"]),
        ({"warps": ["isc"], "datasets": {"X": {"hr": "h", "warp": "nothere/{warp}"}}}, ["nothere/isc"]),
    ],
)
def test_evaluation_mistakes(capsys, config, words) -> None:
    write_config(config)
    line = refused(capsys, "bicubic", "--json", "r.json")
    assert all(word in line for word in words)
    assert not Path("r.json").exists()


def test_models_and_pictures_of_one_stem_keep_apart(pictures, checkpoint) -> None:
    Path("m").mkdir()
    Path("m/small.pth").write_bytes(checkpoint.read_bytes())
    Image.open(pictures / "a.png").save(pictures / "a.bmp")
    write({"X": {"hr": str(pictures)}})
    measure(checkpoint, "m/small.pth", "--save-images", "out")
    assert len(list(Path("out").rglob("*.png"))) == 2 * 4
    call(demo, "--input", pictures, "--output", "folder", "--model", "nearest", "--scale", 1)
    assert sorted(p.name for p in Path("folder").iterdir()) == ["a.bmp.png", "a.png.png", "b.png", "c.png"]


def test_scores_that_are_no_numbers_are_status_1(tmp_path, capsys) -> None:
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "tiny/a.png")  # smaller than SSIM's window
    write({"Tiny": {"hr": str(tmp_path / "tiny")}}, [1])
    with pytest.raises(SystemExit) as ended:
        measure("nearest", "--json", "r.json")
    assert ended.value.code == 1
    assert "Tiny x1 a.png: ssim of nearest" in capsys.readouterr().err
    assert results()["complete"]


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "..", "a/b", 3])
def test_names_of_sets_and_warps_stay_in_the_folder(pictures, capsys, name) -> None:
    for config in (
        {"scales": [2], "datasets": {name: {"hr": str(pictures)}}},
        {"warps": [name], "datasets": {"Own": {"hr": str(pictures), "warp": str(pictures)}}},
    ):
        write_config(config)
        line = refused(capsys, "nearest", "--save-images", "out")
        assert str(name) in line
    assert not Path("out").exists()


def test_native_backend_and_precision_beside_a_filter(pictures, checkpoint, capsys) -> None:
    write({"Own": {"hr": str(pictures)}})
    options = ("--backend", "native", "--precision", "bfloat16", "--json", "r.json")
    measure("bicubic", checkpoint, *options)
    models = results()["models"]
    assert {label: model["backend"] for label, model in models.items()} == {"bicubic": "torch", "small": "native"}
    assert [model["precision"] for model in models.values()] == ["float32", "bfloat16"]
    line = refused(capsys, "bicubic", "--precision", "bfloat16")
    assert "none of the models has an encoder" in line
    assert "names bicubic twice" in refused(capsys, "bicubic", "bicubic")
    assert not Path("save/results/t.json").exists()


def test_the_model_alone_is_measured_unless_safeguards_are_asked_for(tmp_path, checkpoint) -> None:
    """A grey picture comes out of random weights in colours, unless safeguards keep it grey."""
    grey = np.random.default_rng(0).integers(0, 256, (40, 44, 1), dtype=np.uint8).repeat(3, axis=2)
    (tmp_path / "grey").mkdir()
    Image.fromarray(grey).save(tmp_path / "grey/a.png")
    write({"Grey": {"hr": str(tmp_path / "grey")}})
    for options, folder in (((), "alone"), (("--safeguards",), "guarded")):
        measure(checkpoint, "--save-images", folder, *options)
    chroma = [
        np.ptp(np.array(Image.open(f"{folder}/Grey/x2/small/a.png")).astype(int), axis=2).max()
        for folder in ("alone", "guarded")
    ]
    assert chroma[0] > 3
    assert chroma[1] == 0
    reports = [json.loads(Path(f"save/results/t{name}.json").read_text()) for name in ("", "-2")]
    assert [report["models"]["small"]["safeguards"] for report in reports] == [False, True]


def test_pictures_of_another_program_are_scored(pictures, capsys) -> None:
    write({"Own": {"hr": str(pictures)}}, [2, 3])
    measure("bicubic", "--save-images", "out", "--json", "made.json")
    Path("theirs/Own").mkdir(parents=True)
    for scale in ("x2", "x3"):
        Path(f"out/Own/{scale}/bicubic").rename(f"theirs/Own/{scale}")
    measure("pictures:theirs/{set}/{scale}", "bicubic", "--json", "r.json")
    assert list(results()["models"]) == ["theirs", "bicubic"]
    for result in results()["results"]:
        for row in result["pictures"].values():
            found, expected = row.values()
            assert found["psnr"] == pytest.approx(expected["psnr"], abs=0.3)  # of 8 bits
    Path("named").mkdir()
    for path in Path("theirs/Own/x2").iterdir():
        path.rename(f"named/{path.stem}x2_program.png")
    call(test, "--config", "t.yaml", "--scales", "2", "--model", "pictures:named", "--json", "n.json")
    (pictures / "d.png").write_bytes((pictures / "c.png").read_bytes())
    line = mistake(capsys, test, "--config", "t.yaml", "--scales", "2", "--model", "pictures:named")
    assert "named has 0 pictures for d.png" in line
    Image.new("RGB", (9, 9)).save("named/d.png")
    line = mistake(capsys, test, "--config", "t.yaml", "--scales", "2", "--model", "pictures:named")
    assert "d.png is 9x9, smaller than the 60x90 of d.png at x2" in line


def test_flat_pictures_are_counted_apart(pictures, capsys) -> None:
    write({"Own": {"hr": str(pictures)}})
    options = ("--config", "t.yaml", "--model", "bicubic", "nearest")
    call(test, *options, "--json", "before.json")
    Image.new("RGB", (40, 40), (90, 120, 30)).save(pictures / "flat.png")
    capsys.readouterr()
    call(test, *options, "--json", "after.json")
    assert "1 of 4 pictures rendered exactly, not in the means: flat.png" in capsys.readouterr().out
    before, after = (results(name)["results"][0] for name in ("before.json", "after.json"))
    assert after["pictures"]["flat.png"]["nearest"]["psnr"] == 80
    assert after["exact"] == ["flat.png"]
    assert after["mean"] == before["mean"]


def test_names_of_the_published_programs(pictures, capsys) -> None:
    """One file a scale there; the sets in one file here."""
    Path("test-own.yaml").write_text(yaml.safe_dump({"scales": [2, 3, 4], "datasets": {"Own": {"hr": str(pictures)}}}))
    sets = {"Set14": {"hr": ["nothere", str(pictures)]}, "Urban100": {"hr": "nowhere"}}
    Path("test-benchmarks.yaml").write_text(yaml.safe_dump({"scales": [2], "datasets": sets}))
    titles = {
        "test-own-x1.5": "Own x1.5", "test-own-3": "Own x3", "test-set14": "Set14 x2", "test-set14-x4": "Set14 x4"
    }  # fmt: skip
    for config, title in titles.items():
        call(test, "--config", f"{config}.yaml", "--model", "nearest")
        out = capsys.readouterr().out
        assert title in out
        assert out.count("mean ") == 1
    assert "nowhere" in mistake(capsys, test, "--config", "test-urban100-2.yaml", "--model", "nearest")
    assert "test-manga109-2.yaml" in mistake(capsys, test, "--config", "test-manga109-2.yaml", "--model", "nearest")
    config = load_test_config("configs/test-original/test-fast-b100-8.yaml", [])
    assert (list(config["datasets"]), config["scales"]) == (["BSD100"], [8])
    call(test, "--config", "test-benchmarks.yaml", "--model", "nearest")
    out = capsys.readouterr().out
    assert "not measured: Urban100: no folder nowhere" in out
    assert "Set14 x2" in out


def test_lr_and_hr_pictures_come_from_one_place(pictures) -> None:
    """An HR folder of another layout stands first, and is not the one that the LR files were made of."""
    for path in pictures.iterdir():
        picture = Image.open(path)
        for name, made in (("other/Own_HR", picture.rotate(180)), ("edsr/Own/HR", picture)):
            Path(name).mkdir(parents=True, exist_ok=True)
            made.save(f"{name}/{path.name}")
        Path("edsr/Own/LR/X2").mkdir(parents=True, exist_ok=True)
        small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
        small.save(f"edsr/Own/LR/X2/{path.name}")
    spec = {"hr": ["other/Own_HR", "edsr/Own/HR"], "lr": ["nothere/X{scale}", "edsr/Own/LR/X{scale}"]}
    write({"Own": spec})
    measure("bicubic", "--json", "r.json")
    assert results()["results"][0]["mean"]["bicubic"]["psnr"] > 25
