"""Files: names, atomic writing, reading files of unknown origin, locks."""

import errno
import io
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import ROOT
from tests.trainings import HOLDER
from utils.errors import InputError
from utils.files import (
    LOCK,
    CodeInFileError,
    atomic_file,
    check_target,
    clear_temporaries,
    locked,
    new_folder,
    read_array,
    read_json,
    read_tensors,
    read_text,
    writing,
)
from utils.geometry.matrices import matrix_of


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_reads_a_file(tmp_path, umask, mode) -> None:
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def interrupted(context, write=lambda _: None, error: Exception | None = None) -> None:
    """A block in which something is written before an error."""
    error = error or KeyError()

    def work() -> None:
        with context as place:
            write(place)
            raise error

    with pytest.raises(type(error)):
        work()


def test_a_failed_file_leaves_what_was_there(tmp_path) -> None:
    kept = tmp_path / "a.txt"
    kept.write_text("old")
    for path in (kept, tmp_path / "new/deeper/b.txt"):
        interrupted(atomic_file(path), lambda temporary: temporary.write_text("half"))
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


def test_new_folders_go_unless_something_is_in_them(tmp_path) -> None:
    interrupted(new_folder(tmp_path / "a/b"))
    assert not (tmp_path / "a").exists()
    interrupted(new_folder(tmp_path / "a/b"), lambda _: (tmp_path / "a/b/kept").touch())
    assert (tmp_path / "a/b/kept").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_disks_that_take_no_more_are_named_in_one_line(tmp_path, number) -> None:
    path = tmp_path / "new/a.txt"
    with pytest.raises(InputError, match=f"cannot write {path}: {os.strerror(number)}"), atomic_file(path):
        raise OSError(number, os.strerror(number))
    assert not path.parent.exists()


def test_other_errors_pass(tmp_path) -> None:
    interrupted(writing(tmp_path), error=FileNotFoundError(errno.ENOENT, "no compiler"))


@pytest.mark.parametrize("name", ["file/a.txt", "folder", "n" * 300, "loop/a.txt"])
def test_places_that_hold_no_file(tmp_path, name) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError), atomic_file(tmp_path / name):
        pass


def test_only_temporaries_of_killed_writers_are_cleared(tmp_path) -> None:
    writer = atomic_file(tmp_path / "epoch-last.pth")
    left = writer.__enter__()
    others = [tmp_path / name for name in (".epoch-last.pth", "epoch-last.pth.tmp", ".lock", "a.0123abcd.tmp")]
    for path in others:
        path.touch()
    clear_temporaries(tmp_path, before=left.stat().st_mtime - 1)
    assert left.exists()
    clear_temporaries(tmp_path, before=left.stat().st_mtime)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_devices_and_pipes_are_not_replaced(tmp_path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe or a device"):
        check_target(pipe)
    with pytest.raises(InputError, match="pipe or a device"), atomic_file(pipe) as temporary:
        temporary.write_text("x")
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.png"]


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


def test_contents_that_are_something_else(tmp_path) -> None:
    path = tmp_path / "t"
    for content, read, words in (
        (b"x" * (1 << 18), read_text, "longer than 128 KiB"),
        (b"\xff\xfe", read_text, "UTF-8 text"),
        (b"[" * 100_000, read_json, "not JSON"),
        (array_file((1 << 60, 1 << 60)), read_array, "is not a thing"),
        (array_file((3,), b"12"), read_array, "is not a thing"),
    ):
        path.write_bytes(content)
        assert words in refusal(read, path)
    for save, value in ((np.save, np.array([{}], dtype=object)), (np.savez, np.zeros(3))):
        with open(path, "wb") as file:
            save(file, value)
        assert "is not a thing" in refusal(read_array, path)
        with pytest.raises(InputError, match=r"homography .*t: "):
            matrix_of(path)


def array_file(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """An .npy file of bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_what_numpy_wrote(tmp_path, order) -> None:
    expected = np.asarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), order=order)
    np.save(tmp_path / "a.npy", expected)
    read = read_array(tmp_path / "a.npy", "array")
    assert read.dtype == np.int16
    assert np.array_equal(read, expected)


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


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder until its input ends."""
    command = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "\n"
        yield process
        process.kill()


def take(folder: Path) -> None:
    with locked(folder):
        pass


def test_a_held_folder_is_refused_until_it_is_given_back(tmp_path, holder) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} is in use by process {holder.pid}"):
        take(tmp_path)
    assert (tmp_path / LOCK).exists()  # the holder's
    holder.communicate()
    take(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_the_lock_of_a_killed_process_does_not_block(tmp_path, holder) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    take(tmp_path)
