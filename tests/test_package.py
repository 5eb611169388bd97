"""The wheel and torch.hub, beside packages that are called as ours are; the descriptor for programs on spandrel."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import continua
import hubconf
from continua.building import PARTS, files, rewritten
from models import load_upscaler
from tests.commands import ROOT

CALLER = """
import sys, models, utils  # the caller's own
import continua, numpy
upscaler = continua.load("s")
picture = numpy.load("picture.npy")
numpy.save("larger.npy", upscaler(picture, scale=2.5))
import models.more
assert (models.MINE, models.more.MINE, utils.MINE) == (1, 2, 3)
assert not {"demo", "painting", "pictures"} & sys.modules.keys()
print(continua.__version__, continua.__file__)
"""


PICTURES = """
  dataset: {name: image-folder, args: {root_path: pictures}}
  wrapper: {name: sr-implicit-downsampled, args: {scale_min: 2}}
"""
TRAINING = f"""
train_dataset: {PICTURES}
  batch_size: 1
model:
  name: subpixel
  args:
    encoder_spec: {{name: edsr-baseline, args: {{n_resblocks: 1, n_feats: 8, no_upsampling: true}}}}
    hypernet_spec: {{name: mlp, args: {{out_dim: 48, hidden_list: [8]}}}}
optimizer: {{name: adam, args: {{lr: 1.0e-3}}}}
epoch_max: 1
"""


HUB_CALLER = """
import sys, models, torch, utils  # the caller's own
before = [*sys.path]
{lines}
import models.more, utils as again
assert (models.MINE, models.more.MINE, utils.MINE, again.MINE) == (1, 2, 3, 3)
own = {{name for name in sys.modules if name.partition(".")[0] in ("models", "utils", "datasets", "evaluation")}}
assert own == {{"models", "models.more", "utils"}}, own
assert sys.path == before, sys.path
second = torch.hub.load({root!r}, "continua", "lerf-l", source="local")  # once more, when all is imported
assert second(torch.rand(1, 3, 4, 5), scale=2).shape == (1, 3, 8, 10)
try:
    torch.hub.load({root!r}, "continua", "nothing", source="local")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import models", "from p import models"),
        ("    import datasets as d; x = 1", "    from p import datasets as d; x = 1"),
        ("import models.zoo as z", "from p.models import zoo as z"),
        ("from models.zoo import (\n    resolve,  # why\n)", "from p.models.zoo import (\n    resolve,  # why\n)"),
        ("import torch.nn\nfrom testing import x\ny = 'import models'\nimport modelsx", None),
    ],
)
def test_imports_are_rewritten_and_nothing_else(source, expected) -> None:
    indented = source if source.strip() == source else f"def f():\n{source}"
    expected = source if expected is None else expected
    assert rewritten(indented, "p").endswith(expected)


def test_a_name_that_would_be_another_is_refused() -> None:
    with pytest.raises(ValueError, match=r"import models\.zoo"):
        rewritten("import models.zoo", "p")


def test_every_module_imports_by_the_new_name_what_is_there() -> None:
    modules = [path.relative_to(ROOT) for path in files() if path.suffix == ".py"]
    there = {"p." + ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in modules}
    for path in modules:
        for node in ast.walk(ast.parse(rewritten((ROOT / path).read_text(), "p"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & set(PARTS), path
            assert {name for name in names if name.startswith("p.")} <= there, path
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                module = f"{node.module}.{alias.name}"
                is_file = (ROOT / module.removeprefix("p.").replace(".", "/")).with_suffix(".py").is_file()
                assert not is_file or module in there, (path, module)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder in which the wheel of a source archive is installed, with its commands in `bin`; PyTorch and others
    are this Python's."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    archiving = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", archiving], cwd=copy_of_sources(folder / "sources"), check=True)
    (archive,) = folder.glob("continua-*.tar.gz")
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, archive],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("continua-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
        assert names == {"continua", f"continua-{continua.__version__}.dist-info"}
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "installed", wheel], check=True)
    return folder / "installed"


def copy_of_sources(folder: Path) -> Path:
    """What git would check out, for setuptools writes beside what it builds."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name.startswith(
            (*PARTS, "continua", "configs", "save", "setup.py", "pyproject", "requirements.txt", "README", "MANIFEST")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def run(command: list, folder: Path, installed: Path | None = None) -> subprocess.CompletedProcess:
    kept = {"HOME": os.environ.get("HOME", str(folder)), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    kept |= {"PYTHONPATH": str(installed)} if installed else {}
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)


def beside_own_modules(folder: Path, program: str, installed: Path | None = None) -> subprocess.CompletedProcess:
    """Run a program beside modules that are called as ours are."""
    (folder / "models").mkdir()
    (folder / "models/__init__.py").write_text("MINE = 1")
    (folder / "models/more.py").write_text("MINE = 2")
    (folder / "utils.py").write_text("MINE = 3")
    (folder / "program.py").write_text(program)
    ended = run([sys.executable, "program.py"], folder, installed)
    assert ended.returncode == 0, ended.stderr
    return ended


def three_lines() -> str:
    """What docs/anywhere.md shows, for this folder."""
    (block,) = re.findall(r"```python\n(import torch, PIL.*?)```", (ROOT / "docs/anywhere.md").read_text(), re.DOTALL)
    assert len([line for line in block.splitlines() if line]) == 3
    assert block.count("path/to/continua") == 1
    return block.replace("path/to/continua", str(ROOT))


def test_the_three_lines_of_torch_hub_beside_the_callers_own_modules(tmp_path) -> None:
    """`models` and `utils` stay the caller's, before and after."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    program = HUB_CALLER.format(lines=three_lines(), root=str(ROOT))
    ended = beside_own_modules(tmp_path, program)
    assert Image.open(tmp_path / "photo_x4.png").size == (32, 24)
    assert "shipped models: s, " in ended.stdout


def test_what_torch_hub_looks_for_is_required() -> None:
    required = set(re.findall(r"^\w+", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    packages = {"PIL": "pillow", "yaml": "pyyaml"}
    assert {packages.get(name, name) for name in hubconf.dependencies} <= required


def test_the_verbs_beside_the_callers_own_modules(installed, tmp_path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    np.save(tmp_path / "picture.npy", picture)
    ended = beside_own_modules(tmp_path, CALLER, installed)
    version, file = ended.stdout.split()
    assert version == continua.__version__
    assert Path(file).is_relative_to(installed)
    assert (Path(file).parent / "py.typed").exists()
    assert np.array_equal(np.load(tmp_path / "larger.npy"), continua.load("s")(picture, scale=2.5))


def test_the_commands(installed, tmp_path) -> None:
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils/__init__.py").write_text("1 / 0")
    (tmp_path / "models.py").write_text("1 / 0")
    for command in ("upscale", "train", "test", "app"):
        ended = run([installed / "bin/continua", command, "--help"], tmp_path, installed)
        assert ended.returncode == 0, ended.stderr
        assert f"usage: continua {command} " in ended.stdout
    Image.fromarray(np.full((8, 9, 3), 77, np.uint8)).save(tmp_path / "a.png")
    options = ["--input", "a.png", "--scale", "2", "--model", "lerf-g", "--output", "o.png"]
    ended = run([installed / "bin/continua", "upscale", *options], tmp_path, installed)
    assert ended.returncode == 0, ended.stderr
    assert Image.open(tmp_path / "o.png").size == (18, 16)
    assert (installed / "continua/_parts/configs/test-lmf/test-set5.yaml").exists()
    ended = run([installed / "bin/continua", "upscale", "--input", "b.png", "--scale", "2"], tmp_path, installed)
    assert (ended.returncode, ended.stderr) == (2, "continua upscale: no picture b.png; check the name\n")
    assert run([installed / "bin/continua", "--version"], tmp_path, installed).stdout.strip() == continua.__version__
    (tmp_path / "train.yaml").write_text(TRAINING)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "o.png").rename(tmp_path / "pictures/o.png")
    ended = run([installed / "bin/continua", "train", "--config", "train.yaml", "--name", "run"], tmp_path, installed)
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "test.yaml").write_text(f"test_dataset: {PICTURES}")
    options = ["--config", "test.yaml", "--model", "save/run/epoch-last.pth"]
    ended = run([installed / "bin/continua", "test", *options], tmp_path, installed)
    assert ended.returncode == 0, ended.stderr
    assert run([installed / "bin/continua", "upscael"], tmp_path, installed).returncode == 2


def test_encode_and_render() -> None:
    upscaler, picture = continua.load("s"), torch.rand(1, 3, 7, 8)
    latent = upscaler.encode(picture)
    for size in ((20, 30), (9, 9)):
        assert torch.equal(upscaler.render(latent, size), load_upscaler("s")(picture, size))


@pytest.mark.parametrize("model", ["s", "lerf-g", "lanczos"])
def test_a_descriptor_is_spandrels(model) -> None:
    spandrel = pytest.importorskip("spandrel")
    made, picture = continua.descriptor(model, scale=3), torch.rand(1, 3, 9, 8)
    assert isinstance(made, spandrel.ImageModelDescriptor)
    assert (made.scale, made.input_channels, made.output_channels, made.purpose) == (3, 3, 3, "SR")
    assert made.device == torch.device("cpu")
    assert torch.equal(made.eval()(picture), load_upscaler(model)(picture, (27, 24)))
    if made.supports_half:
        assert made.half()(picture.half()).dtype == torch.float16


@pytest.mark.parametrize("scale", [0, 2.5, "4"])
def test_a_descriptor_has_a_whole_scale(scale) -> None:
    with pytest.raises(ValueError, match="whole number"):
        continua.descriptor("lanczos", scale=scale)
