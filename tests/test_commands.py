"""The programs as users call them: what they write, and one line for every mistake."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import bench
import demo
import init_cmsr
import test
import train
from tests.conftest import SMALL_LMLIIF
from utils import cli
from utils.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(program, *arguments) -> None:
    program.main([str(argument) for argument in arguments])


def failure(capsys, program, *arguments) -> list[str]:
    """Call a program that must end with status 2; returns its lines on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda _: call(program, *arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


def mistake(capsys, program, *arguments) -> str:
    """Call a program that must end in one line on stderr and status 2; returns the line."""
    (line,) = failure(capsys, program, *arguments)
    return line


def train_config(pictures: Path, **changes) -> Path:
    dataset = {"name": "image-folder", "args": {"root_path": str(pictures), "repeat": 4, "cache": "in_memory"}}
    wrapper = {
        "name": "sr-implicit-downsampled",
        "args": {"inp_size": 8, "scale_max": 4, "sample_q": 64, "augment": True},
    }
    config = {
        "train_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "val_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "model": SMALL_LMLIIF,
        "optimizer": {"name": "adam", "args": {"lr": 1e-3}},
        "epoch_max": 4,
        "multi_step_lr": {"milestones": [2], "gamma": 0.5},
        "epoch_save": 2,
        **changes,
    }
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


# demo.py


@pytest.mark.parametrize(
    ("options", "size"),
    [(("--scale", "2.5"), (120, 160)), (("--scale", "3x1.5"), (72, 192)), (("--size", "100x31"), (100, 31))],
)
def test_demo_sizes(pictures, checkpoint, capsys, options, size) -> None:
    Image.open(pictures / "a.png").convert("L").save("grey.png")
    call(
        demo,
        "--input",
        pictures / "a.png",
        "--output",
        "sub/o.png",
        "--model",
        checkpoint,
        "--gpu",
        "0",
        "--fast",
        "True",
        *options,
    )
    call(demo, "--input", "grey.png", "--output", "grey_o.png", "--model", checkpoint, *options)
    assert Image.open("sub/o.png").size == Image.open("grey_o.png").size == size
    assert (Image.open("sub/o.png").mode, Image.open("grey_o.png").mode) == ("RGB", "L")
    out = capsys.readouterr().out
    assert f"48x64 -> {size[0]}x{size[1]}" in out
    assert "wrote sub/o.png" in out
    if not torch.cuda.is_available():
        assert "using the CPU" in out


def test_demo_without_the_fast_path_gives_the_same_picture(pictures, checkpoint) -> None:
    for fast in ("True", "False"):
        call(
            demo,
            "--input",
            pictures / "a.png",
            "--output",
            f"{fast}.png",
            "--model",
            checkpoint,
            "--scale",
            2,
            "--fast",
            fast,
        )
    difference = np.array(Image.open("True.png")).astype(int) - np.array(Image.open("False.png"))
    assert abs(difference).max() <= 1


def test_demo_folder_goes_on_past_a_broken_picture(pictures, capsys) -> None:
    (pictures / "b.png").write_text("broken")
    line = mistake(capsys, demo, "--input", pictures, "--output", "out", "--model", "bicubic", "--scale", 2)
    assert "1 of 3" in line
    assert "b.png" in line
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--input": "nothere.png"}, ["nothere.png"]),
        ({"--input": "text.png"}, ["text.png"]),
        ({"--model": "nothere.pth"}, ["nothere.pth"]),
        ({"--model": "bicubik"}, ["bicubik", "'bicubic'"]),
        ({"--model": "text.png"}, ["text.png", "checkpoint"]),
        ({"--scale": "0"}, ["--scale", "above 0"]),
        ({"--scale": "two"}, ["--scale"]),
        ({"--scale": "1000000"}, ["pixels"]),
        ({"--size": "10x10"}, ["--size", "--scale"]),
        ({"--scale": None}, ["--scale", "--size"]),
        ({"--output": "o.nonsense"}, ["o.nonsense"]),
        ({"--fast": "maybe"}, ["--fast", "maybe"]),
        ({"--scal": "2"}, ["--scal"]),
        ({"--device": "tpu"}, ["tpu"]),
        ({"--device": "cuda:99"}, ["cuda:99"]),
        ({"--gpu": "first"}, ["--gpu"]),
    ],
)
def test_demo_mistakes(pictures, capsys, change, words) -> None:
    Path("text.png").write_text("just text")
    options = {"--input": str(pictures / "a.png"), "--output": "o.png", "--model": "bicubic", "--scale": "2", **change}
    line = mistake(capsys, demo, *(part for pair in options.items() if pair[1] is not None for part in pair))
    assert all(word in line for word in words)
    assert not Path("o.png").exists()


# train.py


@pytest.mark.slow
def test_training_learns_saves_and_resumes(pictures, tmp_path) -> None:
    config = train_config(pictures)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")
    run = tmp_path / "save/whole"
    assert {"config.yaml", "log.txt", "tensorboard", "epoch-last.pth", "epoch-best.pth", "epoch-2.pth"} <= {
        p.name for p in run.iterdir()
    }
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", (run / "log.txt").read_text())]
    assert len(losses) == 4
    assert losses[-1] < losses[0]

    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--set", "epoch_max=2")
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--resume")
    whole, parts = (load_checkpoint(f"save/{name}/epoch-last.pth") for name in ("whole", "parts"))
    assert (parts["step"], parts["epoch"], parts["best"]) == (whole["step"], whole["epoch"], whole["best"])
    for name, value in whole["model"]["sd"].items():
        assert torch.equal(parts["model"]["sd"][name], value)


@pytest.mark.slow
def test_training_stops_in_time_and_starts_from_weights(pictures, capsys) -> None:
    config = train_config(pictures, epoch_val=1)
    call(train, "--config", config, "--name", "short", "--max-minutes", "1e-9")  # one step, then it saves
    state = load_checkpoint("save/short/epoch-last.pth")
    assert state["step"] == 1
    call(train, "--config", config, "--name", "short", "--resume")
    assert load_checkpoint("save/short/epoch-last.pth")["step"] == 12
    call(
        train,
        "--config",
        config,
        "--name",
        "tuned",
        "--set",
        "init=save/short/epoch-last.pth",
        "--set",
        "optimizer.args.lr=0",
    )
    for name, value in load_checkpoint("save/short/epoch-last.pth")["model"]["sd"].items():
        assert torch.equal(load_checkpoint("save/tuned/epoch-last.pth")["model"]["sd"][name], value)


@pytest.mark.slow
def test_training_does_not_mix_runs(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1)
    assert "start without --resume" in mistake(capsys, train, "--config", config, "--name", "r", "--resume")
    call(train, "--config", config, "--name", "r")
    before = Path("save/r/epoch-last.pth").read_bytes()
    assert "--overwrite" in mistake(capsys, train, "--config", config, "--name", "r")
    other = ("--set", "model.name=liif", "--set", "model.args.hypernet_spec=null")
    mistake(capsys, train, "--config", config, "--name", "r", "--resume", *other)
    assert Path("save/r/epoch-last.pth").read_bytes() == before
    call(train, "--config", config, "--name", "r", "--overwrite", "--set", "seed=5")
    assert Path("save/r/epoch-last.pth").read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_dataset.dataset.args.root_path": "load/DIV2K"}, ["load/DIV2K"]),
        ({"epoch_mx": 3}, ["epoch_mx", "'epoch_max'"]),
        ({"model.name": "lmlif"}, ["lmlif", "'lmliif'"]),
        ({"train_dataset.wrapper.name": "sr-implict-downsampled"}, ["sr-implicit-downsampled"]),
        ({"optimizer.name": "adm"}, ["'adam'"]),
        ({"train_dataset.batch_size": 500}, ["batch"]),
        ({"eval_type": "div2k-4"}, ["div2k", "whole pictures"]),
        ({"init": "nothere.pth"}, ["nothere.pth"]),
    ],
)
def test_training_mistakes(pictures, capsys, changes, words) -> None:
    config = train_config(pictures, epoch_max=1)
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    line = mistake(capsys, train, "--config", config, "--name", "r", *sets)
    assert all(word in line for word in words)
    assert not Path("save").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch_max": "abc"}, ["epoch_max", "whole number"]),
        ({"train_dataset.batch_size": "'4'"}, ["batch_size", "whole number"]),
        ({"multi_step_lr.milestones": 2}, ["milestones", "list"]),
        ({"cosine_lr": "true"}, ["cosine_lr", "mapping"]),
        ({"data_norm.inp.sub": 0.5}, ["data_norm", "sub", "list"]),
        ({"model.arg.lr_skip": "false"}, ["arg", "'args'"]),
        ({"model.name": "edsr-baseline", "model.args": "{n_feats: 8}"}, ["part of a model"]),
        ({"model.args.encoder_spec.args.n_feats": "many"}, ["edsr-baseline", "arguments"]),
        ({"model.args.encoder_spec.args.no_upsampling": "false"}, ["no_upsampling: true"]),
        ({"train_dataset.wrapper.args.inp_size": 200}, ["inp_size", ".png"]),
        ({"train_dataset.wrapper.args.sample_q": "null"}, ["sample_q"]),
        ({"val_dataset.wrapper.args.inp_size": 300}, ["inp_size", ".png"]),
        ({"seed": "x"}, ["seed"]),
    ],
)
def test_training_config_mistakes_show_before_anything_is_written(pictures, capsys, changes, words) -> None:
    config = train_config(pictures, epoch_max=1)
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    line = mistake(capsys, train, "--config", config, "--name", "r", *sets)
    assert all(word in line for word in words)
    assert "Traceback" not in line
    assert not Path("save").exists()


@pytest.mark.slow
def test_a_mistake_in_a_data_worker_is_one_line(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, num_workers=1)
    for cache in ("none", "bin"):
        (pictures / "c.png").write_text("broken" if cache == "bin" else "broken, too")
        change = f"train_dataset.dataset.args.cache={cache}"
        last = failure(capsys, train, "--config", config, "--name", cache, "--device", "cpu", "--set", change)[-1]
        assert "c.png" in last
        assert "Traceback" not in last


@pytest.mark.parametrize("name", [".", "..", "a/b", ""])
def test_names_of_runs_are_single_folders(pictures, capsys, name) -> None:
    assert "name" in mistake(capsys, train, "--config", train_config(pictures), "--name", name, "--tag", "/x")


def test_overwrite_deletes_nothing_but_runs(pictures, capsys) -> None:
    precious = Path("save/precious/file.txt")
    precious.parent.mkdir(parents=True)
    precious.write_text("keep me")
    for option in ((), ("--overwrite",)):
        line = mistake(capsys, train, "--config", train_config(pictures), "--name", "precious", *option)
        assert "left alone" in line
    assert precious.read_text() == "keep me"


@pytest.mark.slow
def test_resume_refuses_other_settings(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu")
    changes = {
        "model.args.local_ensemble=false": "model.args",
        "data_norm={inp: {sub: [0], div: [1]}}": "data_norm",
        "train_dataset.batch_size=2": "steps",
        "optimizer={name: sgd, args: {lr: 0.1}}": "optimizer",
        "epoch_max=1": "epoch_max",
    }
    for change, word in changes.items():
        options = ("--config", config, "--name", "r", "--resume", "--set", "epoch_max=2", "--set", change)
        assert word in mistake(capsys, train, *options)


@pytest.mark.slow
def test_runs_of_the_published_programs_can_be_continued(pictures) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "ours", "--device", "cpu")
    state = load_checkpoint("save/ours/epoch-last.pth")
    torch.save({key: state[key] for key in ("model", "optimizer", "epoch")}, "theirs.pth")
    call(train, "--config", config, "--name", "more", "--set", "resume=theirs.pth", "--set", "epoch_max=2")
    assert load_checkpoint("save/more/epoch-last.pth")["step"] == 2 * state["step"]


def test_published_training_config_names_the_data_it_wants(capsys) -> None:
    config = ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
    assert "load/DIV2K/DIV2K_train_HR" in mistake(capsys, train, "--config", config, "--name", "edsr-b_lm-liif")
    assert not Path("save").exists()


# test.py


def test_results_as_table_json_and_pictures(pictures, checkpoint, capsys) -> None:
    Path("t.yaml").write_text(
        yaml.safe_dump({"protocol": "benchmark", "scales": [2, 3], "datasets": {"Noise": {"hr": str(pictures)}}})
    )
    call(test, "--config", "t.yaml", "--model", "bicubic", checkpoint, "--json", "r.json", "--save-images", "out")
    out = capsys.readouterr().out
    assert all(word in out for word in ("Noise x2", "Noise x3", "a.png", "mean", "small", "Pillow", "luma"))
    report = json.loads(Path("r.json").read_text())
    assert {"device", "versions", "models"} <= report.keys()
    assert len(report["models"]["small"]["weights_hash"]) == 12
    first = report["results"][0]
    assert (first["dataset"], first["scale"], first["protocol"], first["quantised"]) == ("Noise", 2, "benchmark", False)
    scores = [row["bicubic"]["psnr"] for row in first["pictures"].values()]
    assert first["mean"]["bicubic"]["psnr"] == pytest.approx(sum(scores) / 3)
    assert Image.open("out/Noise/x3/small/a.png").size == (48, 63)


def test_lr_pictures_from_files_and_authors_configs(pictures, tmp_path, capsys) -> None:
    for path in pictures.iterdir():
        picture = Image.open(path)
        lr = tmp_path / f"lr/X2/{path.name}"
        lr.parent.mkdir(parents=True, exist_ok=True)
        picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST).save(lr)
    ours = {"protocol": "rgb", "scales": [2], "datasets": {"N": {"hr": str(pictures), "lr": "lr/X{scale}"}}}
    theirs = {
        "test_dataset": {
            "dataset": {"name": "paired-image-folders", "args": {"root_path_1": "lr/X2", "root_path_2": str(pictures)}},
            "wrapper": {"name": "sr-implicit-paired"},
            "batch_size": 1,
        },
        "eval_type": None,
        "eval_bsize": 500,
    }
    reports = []
    for config in (ours, theirs):
        Path("t.yaml").write_text(yaml.safe_dump(config))
        call(test, "--config", "t.yaml", "--model", "nearest", "--json", "r.json", "--fast", config is ours)
        reports.append(json.loads(Path("r.json").read_text())["results"][0])
    assert reports[0]["pictures"] == reports[1]["pictures"]
    assert "X2" in reports[0]["lr_source"]
    assert reports[1]["lr_source"] == "from files"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"protocol": "benchmrk", "scales": [2], "datasets": {}}, ["benchmrk"]),
        ({"scales": [2], "datasets": {"X": {"hr": "nothere"}}}, ["nothere"]),
        ({"scales": [2], "datasets": {"X": {"hd": "nothere"}}}, ["'hd'", "hr"]),
        ({"scale": [2]}, ["'scales'"]),
        ({"scales": 2, "datasets": {"X": {"hr": "nothere"}}}, ["scales", "list"]),
        ({"scales": [], "datasets": {"X": {"hr": "nothere"}}}, ["scales"]),
        ({"scales": [2], "datasets": ["X"]}, ["datasets", "mapping"]),
        ({"scales": [2], "datasets": {"X": {"hr": "h", "lr": "{x}"}}}, ["{x}", "{scale}"]),
        ({"test_dataset": {}, "datasets": {}}, ["alone"]),
    ],
)
def test_evaluation_mistakes(capsys, config, words) -> None:
    Path("t.yaml").write_text(yaml.safe_dump(config))
    line = mistake(capsys, test, "--config", "t.yaml", "--model", "bicubic", "--json", "r.json")
    assert all(word in line for word in words)
    assert not Path("r.json").exists()


def test_lr_pictures_of_another_scale_are_refused(pictures, capsys) -> None:
    Path("t.yaml").write_text(
        yaml.safe_dump({"scales": [2], "datasets": {"X": {"hr": str(pictures), "lr": str(pictures)}}})
    )
    line = mistake(capsys, test, "--config", "t.yaml", "--model", "bicubic")
    assert "do not fit the scale 2" in line


def test_models_and_pictures_of_one_stem_keep_apart(pictures, checkpoint) -> None:
    Path("m").mkdir()
    Path("m/small.pth").write_bytes(checkpoint.read_bytes())
    Image.open(pictures / "a.png").save(pictures / "a.bmp")
    Path("t.yaml").write_text(yaml.safe_dump({"scales": [2], "datasets": {"X": {"hr": str(pictures)}}}))
    call(test, "--config", "t.yaml", "--model", checkpoint, "m/small.pth", "--save-images", "out")
    assert len(list(Path("out").rglob("*.png"))) == 2 * 4
    call(demo, "--input", pictures, "--output", "folder", "--model", "nearest", "--scale", 1)
    assert sorted(p.name for p in Path("folder").iterdir()) == ["a.bmp.png", "a.png.png", "b.png", "c.png"]


def test_pictures_are_never_written_over_their_folder(pictures, capsys) -> None:
    before = (pictures / "a.png").read_bytes()
    line = mistake(capsys, demo, "--input", pictures, "--output", pictures, "--model", "nearest", "--scale", 2)
    assert "overwritten" in line
    assert (pictures / "a.png").read_bytes() == before


# init_cmsr.py and --cmsr


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
    assert content["rule"] == "window"
    assert not table.with_suffix(".partial").exists()
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
    init = ("--config", "init.yaml", "--model", checkpoint, "--scales", "6")
    assert "--mse_threshold" in mistake(capsys, init_cmsr, *init, "--save_path", "n.yaml", "--mse_threshold", "-1")
    assert "--force" in mistake(capsys, init_cmsr, *init, "--save_path", table, "--mse_threshold", "2e-3")
    assert not Path("o.png").exists()
    assert not Path("n.yaml").exists()


# bench.py


def test_cost_table_and_plot(capsys) -> None:
    config = str(ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml")
    call(bench, "cost", "--configs", config, "--scales", "2,3x1.5", "--json", "c.json", "--plot", "c.png")
    assert "165,651" in capsys.readouterr().out
    assert list(json.loads(Path("c.json").read_text())["models"]["edsr-baseline-lmliif"]["decoder_macs"]) == [
        "2",
        "3x1.5",
    ]
    assert Image.open("c.png").size == (960, 600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "figure"),
    [("encode", "encoder runs saved"), ("train", "step / encoder"), ("memory", "peak beyond imports, MB")],
)
def test_benchmarks_run(checkpoint, command, figure) -> None:
    call(bench, command, "--model", checkpoint, "--input", "16x16", "--repeats", 1, "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert figure in report["figures"]
    assert report["machine"]["torch"] == torch.__version__
