"""Files are written whole, with the user's permissions, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from utils.errors import InputError
from utils.files import atomic_file, check_target, clear_temporaries, new_folder, writing


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_reads_a_file(tmp_path, umask, mode) -> None:
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_a_failed_file_leaves_what_was_there(tmp_path) -> None:
    kept = tmp_path / "a.txt"
    kept.write_text("old")

    def fail(path: Path) -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    for path in (kept, tmp_path / "new/deeper/b.txt"):
        with pytest.raises(KeyError):
            fail(path)
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_disks_that_take_no_more_are_named_in_one_line(tmp_path, number) -> None:
    path = tmp_path / "new/a.txt"
    with pytest.raises(InputError, match=f"cannot write {path}: {os.strerror(number)}"), atomic_file(path):
        raise OSError(number, os.strerror(number))
    assert not path.parent.exists()


def test_other_errors_pass(tmp_path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "no compiler")


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


def test_new_folders_go_unless_something_is_in_them(tmp_path) -> None:
    def fail_in(folder: Path, name: str | None) -> None:
        with new_folder(folder):
            if name:
                (folder / name).touch()
            raise KeyError

    for name in (None, "kept"):
        with pytest.raises(KeyError):
            fail_in(tmp_path / "a/b", name)
        assert (tmp_path / "a").exists() == bool(name)


def test_devices_and_pipes_are_not_replaced(tmp_path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe or a device"):
        check_target(pipe)
    with pytest.raises(InputError, match="pipe or a device"), atomic_file(pipe) as temporary:
        temporary.write_text("x")
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.png"]
