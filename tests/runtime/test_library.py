"""The C library of LUTs gives exactly what the models give, and is plain C: the example is compiled and run with every
memory access checked."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoints.loading import load_upscaler
from models.native import compiling
from painting.lut_engine import find_library, load_tables
from pictures.reading import read_rgb
from pictures.tensors import to_pixels, to_tensor
from runtime.lerf.continua_lerf import LerfError, Tables, library_path
from runtime.lerf.sources import FLAGS, SOURCES
from tests.runtime.making import header, shipped, tables, write
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.geometry.matrices import rotation_matrix
from utils.geometry.sizes import rotated_size

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/lerf/tables.json").read_text())
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
CHECKED = (*WARNINGS, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return find_library()
    except compiling.BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return read_rgb(Path(__file__).parents[2] / "load/samples/coffee.png")[100:148, 200:264]


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_pictures(library, picture, case) -> None:
    """Hashes of what the models give; those of 8 bits are the same by PyTorch."""
    name, size, depth = case.split()
    pixels = tables(name, library).upscale(picture, tuple(map(int, size.split("x"))), dtype=f"uint{depth}", threads=2)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == GOLDEN[case]


@pytest.mark.parametrize("name", ["lerf-g", "lerf-l"])
def test_pictures_of_every_kind_are_the_models(library, picture, name) -> None:
    """Reduced along an axis, a part, strides, other channels, 16 bits."""
    luts, upscaler = tables(name, library), load_upscaler(name)
    deep = picture[:, ::-1, ::-1].astype(np.uint16) * 257 + 3
    for pixels, size in ((picture, (31, 200)), (picture[::2, ::-1], (60, 90)), (deep[..., :2], (70, 65))):
        image = torch.from_numpy(pixels / np.float32(np.iinfo(pixels.dtype).max)).permute(2, 0, 1)[None]
        window = (3, 5, (20, 30))
        with torch.inference_mode():
            grid = Grid.of_size(size)
            latent = upscaler.model.encode(image.contiguous())
            whole, part = (upscaler.model.render(latent, g)[0] for g in (grid, grid.window(*window)))
        for depth, dtype in ((8, np.uint8), (16, np.uint16)):
            assert np.array_equal(luts.upscale(pixels, size, dtype=dtype), to_pixels(whole, depth=depth))
            assert np.array_equal(luts.upscale(pixels, size, window, dtype), to_pixels(part, depth=depth))


@pytest.mark.parametrize(("degrees", "scale"), [(12.5, (1, 1)), (90, (1, 1)), (200, (2, 3)), (5, (0.6, 0.7))])
def test_warps_are_the_models(library, picture, degrees, scale) -> None:
    luts, upscaler = tables("lerf-g", library), load_upscaler("lerf-g")
    given = picture.shape[:2]
    size = rotated_size(given, degrees, scale)
    grid, matrix = (make(degrees, given, size, scale) for make in (Homography.rotation, rotation_matrix))
    grid = grid.grid(given, size)
    with torch.inference_mode():
        expected = upscaler.model.render(upscaler.model.encode(to_tensor(picture)[None]), grid)[0]
    for threads in (1, 3):
        warped, inside = luts.warp(picture, matrix, size, threads=threads)
        assert np.array_equal(inside, grid.inside().numpy())
        # How many taps a vector holds decides in which order they are summed, so a level may be rounded otherwise
        assert np.abs(warped.astype(int) - to_pixels(expected)).max() <= 1
        assert (warped != to_pixels(expected)).mean() < 1e-4
    deep = picture.astype(np.uint16) * 257 - picture % 200  # between grey levels
    with torch.inference_mode():
        image = torch.from_numpy(deep / np.float32(65535)).permute(2, 0, 1)[None].contiguous()
        expected = to_pixels(upscaler.model.render(upscaler.model.encode(image), grid)[0], depth=16)
    warped, _ = luts.warp(deep, matrix, size, np.uint16)
    assert np.abs(warped.astype(int) - expected).max() <= 2


def test_a_safetensors_file_is_the_same_tables(library, picture, tmp_path) -> None:
    spec = shipped("lerf-l")
    path = write(tmp_path / "l.safetensors", spec)
    expected = tables("lerf-l", library).upscale(picture, (99, 77))
    assert np.array_equal(Tables.open(path, library).upscale(picture, (99, 77)), expected)
    assert np.array_equal(load_tables(path).upscale(picture, (99, 77)), expected)
    changed = dict(spec["sd"], s1_sr0=spec["sd"]["s1_sr0"] + 1)
    write(path, {**spec, "sd": changed}, header(spec))
    assert load_tables(path) is None  # its hash is another


def test_refused_arrays(library, picture) -> None:
    spec, luts = shipped("lerf-l"), tables("lerf-l", library)
    with pytest.raises(LerfError, match="float64"):
        luts.upscale(picture / 255, (9, 9))
    with pytest.raises(LerfError, match="not a part"):
        luts.upscale(picture, (90, 90), (80, 0, (20, 20)))
    with pytest.raises(LerfError, match="singular"):
        luts.warp(picture, np.ones((3, 3)), (9, 9))
    with pytest.raises(LerfError, match="has no pixels"):
        luts.upscale(picture[:0], (9, 9))
    with pytest.raises(LerfError, match="expected s1_sr0"):
        Tables({}, library=library)
    with pytest.raises(LerfError, match="expected int8"):
        Tables({name: lut[:5] for name, lut in spec["sd"].items()}, **spec["args"], library=library)
    with pytest.raises(LerfError, match="neither linear nor gauss"):
        Tables(shipped("lerf-g")["sd"], kernel="cubic", library=library)


@pytest.mark.sanitizer
def test_the_wheel(picture, tmp_path) -> None:
    """Built ahead for any processor of this kind: the same pictures, from a library that needs nothing but libc."""
    pytest.importorskip("setuptools.command.bdist_wheel")
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    command = [sys.executable, "setup.py", "-q", "egg_info", "-e", tmp_path, "bdist_wheel", "-b", tmp_path / "b"]
    folder = SOURCES.parent
    subprocess.run([*command, "-d", tmp_path, "build", "-b", tmp_path / "build"], cwd=folder, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("continua_lerf-0.1.0-py3-none-")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    package = tmp_path / "continua_lerf"
    assert (package / "continua_lerf.h").read_bytes() == (SOURCES / "continua_lerf.h").read_bytes()
    for library in package.glob("*.so"):
        if library == library_path(package) or "-v3" not in library.name:
            pixels = tables("lerf-g", library).upscale(picture, (96, 128))
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == GOLDEN["lerf-g 96x128 8"]
        if shutil.which("ldd") and sys.platform == "linux":
            needed = subprocess.run(["ldd", library], capture_output=True, text=True).stdout.split()
            names = {word for word in needed if ".so" in word and "/" not in word}
            assert names <= {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libpthread.so.0"}
    code = (
        "import sys, continua_lerf; print(continua_lerf.load_library().continua_lerf_version(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.stdout == "1 False\n", done.stderr
    code = "from painting.lut_engine import find_library; print(find_library())"
    environment = {"PYTHONPATH": f"{folder.parents[1]}:{tmp_path}", "CXX": "no-compiler"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{library_path(package)}\n", done.stderr


def compile_c(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C program on the library, with warnings as errors and sanitizers, in the usual cache; skips where there are
    none."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    monkeypatch.setattr(compiling, "LONGEST_BUILD", 600)
    monkeypatch.setattr(compiling, "_spent", 0.0)
    try:
        built = compiling.compiled("continua_lerf", SOURCES, (*FLAGS, *CHECKED))
    except compiling.BuildError as error:
        pytest.skip(f"no sanitizers here: {error}")
    program = folder / source.removesuffix(".c")
    place = str(Path(__file__).with_name(source))
    subprocess.run(
        ["cc", "-std=c99", *CHECKED, "-pedantic", f"-I{SOURCES}", place, str(built), "-o", str(program)], check=True
    )
    return program


def test_the_example_in_c(library, picture, tmp_path, monkeypatch) -> None:
    program, luts = compile_c("example.c", tmp_path, monkeypatch), write(tmp_path / "g.safetensors", shipped("lerf-g"))
    (tmp_path / "in.ppm").write_bytes(b"P6 64 48 255\n" + picture.tobytes())
    done = subprocess.run([program, luts, tmp_path / "in.ppm", tmp_path / "out.ppm"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    expected = tables("lerf-g", library).upscale(picture, (96, 128))
    assert (tmp_path / "out.ppm").read_bytes() == b"P6 128 96 255\n" + expected.tobytes()
    (tmp_path / "in.ppm").write_bytes(b"P6 64 48 255\n")
    command, environment = [program, luts, tmp_path / "in.ppm", tmp_path / "no.ppm"], {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "the picture has an end\n")


def test_hostile_files_and_arguments_in_c(tmp_path, monkeypatch) -> None:
    """A line for each, and no access outside of memory."""
    program, spec = compile_c("opens.c", tmp_path, monkeypatch), shipped("lerf-l")
    good, entry = header(spec), {"dtype": "I8", "shape": [83521, 1], "data_offsets": [0, 83521]}
    text = json.dumps(good).encode()

    def described(**args: object) -> dict:
        return header({**spec, "args": {**spec["args"], **args}})

    heads = {
        "damaged": [b"", b"{", b"[]", b'{"a": {"dtype": "I8"', b'{"a\\', text[:-1], text + b"}", b"[" * 99, text * 2],
        "describe no": [{**good, "__metadata__": {}}, {**good, "__metadata__": {"model": "{}", "tables": "{}"}}],
        "every 16": [header(spec, {"interval": 32}), header(spec, {})],
        "missing": [{key: value for key, value in good.items() if key != "s2_tr1"}],
        "another shape": [{**good, "s1_sr0": {**entry, "shape": [1, 83521]}}],
        "not int8": [{**good, "s1_sr0": {**entry, "dtype": "F32"}}],
        "outside": [
            {**good, "s1_sr0": {**entry, "data_offsets": offsets}}
            for offsets in ([1, 83521], [83521, 0], [10**14, 10**14 + 83521], [0, 0], [])
        ],
        "neither linear": [described(kernel="cubic")],
        "each once": [described(modes=""), described(modes="ss"), described(modes="scts")],
        "support": [described(support=3), described(support=1e99)],
        "do not have": [described(colour=1)],
    }
    files, words = [], []
    for word, several in heads.items():
        for head in several:
            files.append(write(tmp_path / f"{len(files)}.safetensors", spec, head))
            words.append(word)
    (tmp_path / "short").write_bytes(b"\x08")
    (tmp_path / "long").write_bytes(b"\xff" * 60)
    files += [tmp_path / "none", tmp_path / "short", tmp_path / "long", write(tmp_path / "good", spec)]
    words += ["cannot be opened", "damaged", "damaged", "opened"]
    words += ["no picture", "8 or 16 bits", "channels", "too large", "threads", "no look-up", "not a part", "singular"]
    done = subprocess.run([program, *files], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said.pop() == "refused"
    assert len(said) == len(words)
    for line, word in zip(said, words, strict=True):
        assert word in line, said
