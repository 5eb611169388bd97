"""Files damaged as disks, downloads and enemies do: each is read as it was written, or refused in one line."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import test as test_program
from models.checkpoints.lerf import write_tables
from models.checkpoints.loading import load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from models.cmsr.tables import load_table
from models.lerf.tables import tabulated
from pictures.reading import read_rgb
from tests.registered import make_mmediting, make_network, small_model
from utils.cli import explained
from utils.geometry.matrices import matrix_of

SHARES = st.floats(0, 1, exclude_max=True)
DAMAGES = st.tuples(
    st.sampled_from(["flip", "flip", "flip", "cut", "insert", "zeros", "copy", "empty", "prefix"]),
    SHARES,
    st.one_of(st.binary(min_size=1, max_size=64), st.sampled_from([b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02", b"{"])),
)
ODD = (
    "false", "010", "1:30", "", "x" * 100_000, "a\0b", "/dev/zero", "..", float("nan"), float("inf"), -1, 10**9, 2**70,
    1e300, True, None, [], [1, [2]], {}, {"name": "lmliif"}, {"a": {"b": 1}},
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=3),
)
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": [*HealthCheck]}


def damaged(content: bytes, kind: str, share: float, data: bytes) -> bytes:
    place = int(share * len(content))
    head, tail = content[:place], content[place:]
    return {
        "flip": head + bytes([tail[0] ^ (1 << data[0] % 8)]) + tail[1:] if tail else data,
        "cut": head,
        "insert": head + data + tail,
        "zeros": head + bytes(len(tail[:32])) + tail[32:],
        "copy": head + content[: len(tail[:16])] + tail[16:],
        "empty": b"",
        "prefix": data + content,
    }[kind]


def places(value: Any, here: tuple = ()) -> list[tuple]:
    """Paths to all entries of nested dicts and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, entry in entries for path in ((*here, key), *places(entry, (*here, key)))]


def with_value(description: Any, share: float, value: Any) -> Any:
    """A copy of a description with one entry replaced."""
    description = json.loads(json.dumps(description))
    found = places(description)
    where = found[int(share * len(found))]
    holder = description
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    return description


def rendered(path: str) -> np.ndarray:
    """A small picture by the model at `path`, which is finite."""
    picture = load_upscaler(path, backend="torch")(torch.linspace(0, 1, 3 * 8 * 9).reshape(3, 8, 9), (11, 13))
    assert picture.isfinite().all()
    return picture.numpy()


def make_picture(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((24, 26), Image.Resampling.BICUBIC).save(name)


def make_tables() -> None:
    make_network()
    write_tables(Path("tables"), tabulated(load_upscaler("m.pth").model))


def make_safetensors(name: str = "m.safetensors") -> None:
    save_safetensors(name, {"model": small_model(), "trained_scales": [1, 4], "figures": {"Set5 x2": 30.1}})


def make_homography(name: str) -> None:
    matrix = np.array([[1.1, 0.1, 3.0], [0.0, 0.9, 2.0], [1e-4, 0.0, 1.0]])
    write = {"pth": lambda: torch.save(torch.from_numpy(matrix), name), "npy": lambda: np.save(name, matrix)}
    write.get(name[2:], lambda: np.savetxt(name, matrix))()


def make_scale_table() -> None:
    Path("t.yaml").write_text(yaml.safe_dump({6: {1: 0.3, 2: 0.4, 6: 1}, 4.5: {1: 0.2, 4.5: 1}}))


# What is made, which file of it is damaged, how it is read, and whether a hash or checksum finds every change
SUBJECTS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any], bool]] = {
    "checkpoint": (
        lambda: save_checkpoint("m.pth", {"model": small_model()}),
        "m.pth",
        lambda: rendered("m.pth"),
        True,
    ),
    "safetensors": (make_safetensors, "m.safetensors", lambda: rendered("m.safetensors"), True),
    "mmediting": (make_mmediting, "m.pth", lambda: rendered("m.pth"), False),
    "network": (make_network, "m.pth", lambda: rendered("m.pth"), True),
    "tables": (make_tables, "tables/*.npy", lambda: rendered("tables"), False),
    "scale table": (make_scale_table, "t.yaml", lambda: load_table("t.yaml").levels_for(5), False),
}
for _name in ("p.png", "p.jpg", "p.tif", "p.bmp", "p.webp", "p.gif"):
    SUBJECTS[_name] = partial(make_picture, _name), _name, partial(read_rgb, _name), _name == "p.png"
for _name in ("h.txt", "h.npy", "h.pth"):
    SUBJECTS[_name] = partial(make_homography, _name), _name, partial(matrix_of, _name), False


def refused(read: Callable[[], Any]) -> Any:
    """What is read, or None where it is refused in words for a user; anything else is a fault."""
    try:
        return read()
    except SystemExit:
        return None
    except Exception as error:
        if explained(error) is None:
            raise
        return None


@pytest.mark.parametrize("name", SUBJECTS)
def test_damaged_files(tmp_path, monkeypatch, name) -> None:
    make, pattern, read, is_exact = SUBJECTS[name]
    monkeypatch.chdir(tmp_path)
    make()
    file = sorted(Path().glob(pattern))[0]
    content, good = file.read_bytes(), read()

    @settings(max_examples=20, **QUIET)
    @given(DAMAGES)
    def check(damage) -> None:
        file.write_bytes(damaged(content, *damage))
        found = refused(read)
        assert found is None or not is_exact or np.array_equal(found, good)

    check()


@settings(max_examples=40, **QUIET)
@given(st.sampled_from(["model", "trained_scales", "figures"]), SHARES, VALUES)
def test_descriptions_of_weights(tmp_path, monkeypatch, key, share, value) -> None:
    """Any value in the metadata of a .safetensors file, which has no hash."""
    monkeypatch.chdir(tmp_path)
    if not Path("good.safetensors").exists():
        make_safetensors("good.safetensors")
    content = Path("good.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    described = with_value({key: json.loads(header["__metadata__"][key])}, share, value)
    header["__metadata__"][key] = json.dumps(described[key])
    header["__metadata__"].pop("content_hash")
    text = json.dumps(header).encode()
    Path("m.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    refused(lambda: rendered("m.safetensors"))


@settings(max_examples=25, **QUIET)
@given(SHARES, VALUES)
def test_test_configs(tmp_path, monkeypatch, share, value) -> None:
    """Any value in a config; nothing is written outside its folder."""
    monkeypatch.chdir(tmp_path)
    Path("work/pictures").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir("work")
    make_picture("pictures/0.png")
    config = {"protocol": "rgb", "scales": [2, "1.5x2"], "datasets": {"Own": {"hr": "pictures", "first_k": 1}}}
    Path("c.yaml").write_text(yaml.safe_dump(with_value(config, share, value)))
    refused(lambda: test_program.main(["--config", "c.yaml", "--model", "nearest", "--save-images", "out"]))
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
