"""Files of others: what is no regular file, is damaged, or unpacks to more than it is, is named in one line."""

import os
import zipfile

import numpy as np
import pytest
import torch

from utils.errors import InputError
from utils.files import CodeInFileError, read_array, read_json, read_tensors, read_text
from utils.geometry.homographies import read_homography


def refusal(read, path) -> str:
    """The one line with which `read` refuses the file."""
    with pytest.raises(InputError) as caught:
        read(path, "thing")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("read", [read_text, read_json, read_array, read_tensors])
def test_only_regular_files_are_read(tmp_path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "no thing" in refusal(read, tmp_path / "nothere")
    assert "device or pipe" in refusal(read, "/dev/zero")
    assert "device or pipe" in refusal(read, tmp_path / "pipe")
    assert "folder" in refusal(read, tmp_path)
    for path in (tmp_path / "loop", "a\0b", tmp_path / ("long" * 100)):
        assert "cannot be read" in refusal(read, path)


def test_texts_have_a_length(tmp_path) -> None:
    (tmp_path / "t").write_text("x" * (1 << 18))
    assert "longer than 128 KiB" in refusal(read_text, tmp_path / "t")
    (tmp_path / "t").write_bytes(b"\xff\xfe")
    assert "no text" in refusal(read_text, tmp_path / "t")
    (tmp_path / "t").write_text("[" * 100_000)
    assert "not JSON" in refusal(read_json, tmp_path / "t")


def array_file(path, shape, dtype="|i1", data=b"") -> None:
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        file.write(data)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_what_numpy_wrote(tmp_path, order) -> None:
    expected = np.asarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), order=order)
    np.save(tmp_path / "a.npy", expected)
    read = read_array(tmp_path / "a.npy", "array")
    assert read.dtype == np.int16
    assert np.array_equal(read, expected)


def test_arrays_that_are_none(tmp_path) -> None:
    path = tmp_path / "a.npy"
    array_file(path, (1 << 60, 1 << 60))
    assert "0 bytes follow" in refusal(read_array, path)
    array_file(path, (3,), data=b"1234")
    assert "4 bytes follow" in refusal(read_array, path)
    np.save(path, np.array([{}], dtype=object))
    assert "is no thing" in refusal(read_array, path)
    np.savez(tmp_path / "z.npz", np.zeros(3))
    (tmp_path / "z.npz").rename(path)
    assert "is no thing" in refusal(read_array, path)
    with pytest.raises(InputError, match=r"a\.npy"):
        read_homography(path)


def test_archives_are_counted_before_they_are_unpacked(tmp_path) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "t.pth")
    with zipfile.ZipFile(tmp_path / "t.pth") as plain, zipfile.ZipFile(tmp_path / "p.pth", "w", 8) as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "p.pth").stat().st_size < 10_000
    assert "unpacks to 4,19" in refusal(read_tensors, tmp_path / "p.pth")


def test_every_flipped_bit_of_a_tensor_is_noticed(tmp_path) -> None:
    torch.save({"a": torch.arange(64.0)}, tmp_path / "t.pth")
    content = (tmp_path / "t.pth").read_bytes()
    start = content.index(torch.arange(64.0).numpy().tobytes())
    for place in range(start, start + 256, 17):
        (tmp_path / "t.pth").write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert "is damaged" in refusal(read_tensors, tmp_path / "t.pth")


def test_code_is_told_from_damage(tmp_path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(CodeInFileError, match="run code"):
        read_tensors(tmp_path / "code.pth", "thing")
