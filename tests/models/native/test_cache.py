"""The cache of compiled routines, which others could have touched."""

import logging
import os
import tempfile
from pathlib import Path

import pytest

from models.native import backends, compiling
from tests.models.native.cases import needs_compiler
from utils.errors import InputError


def test_users_without_a_home_folder_are_told(forgetful) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTINUA_CACHE", "XDG_CACHE_HOME"):
        forgetful.delenv(name, raising=False)
    forgetful.setattr(compiling.Path, "home", no_home)
    with pytest.raises(InputError, match="home"):
        compiling.cache_folder()
    assert backends.library("lerf") is None


def truncated(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:5000])  # was SIGBUS


def flipped(library: Path) -> None:
    whole = bytearray(library.read_bytes())  # was SIGSEGV
    whole[5000] ^= 255
    library.write_bytes(whole)


def writable(library: Path) -> None:
    library.chmod(0o666)


def linked(library: Path) -> None:
    library.symlink_to(library.rename(library.parent.parent / library.name))


@pytest.mark.parametrize("damage", [truncated, flipped, writable, linked])
@needs_compiler
def test_a_damaged_library_is_compiled_again(quick, damage) -> None:
    library = compiling.compiled("lerf")
    damage(library)
    assert not compiling.is_intact(library)
    again = compiling.compiled("lerf")
    assert compiling.is_intact(again)
    assert list(again.parent.iterdir()) == [again]
    assert backends.library("lerf") is not None


@needs_compiler
def test_what_killed_compilers_left_is_cleared(quick) -> None:
    cache = compiling.compiled("lerf").parent
    old, new = (cache / f".building-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "lmf.so").touch()
    os.utime(old, (0, 0))
    compiling.compiled("resampler")
    assert not old.exists()
    assert new.exists()


def writable_by_others(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def below_a_writable_folder(folder: Path) -> Path:
    writable_by_others(folder)
    (folder / "cache").mkdir(0o700)
    return folder / "cache"


def linked_to_a_writable_folder(folder: Path) -> Path:
    folder.symlink_to(writable_by_others(folder.with_name("target")))
    return folder


def of_another_user(folder: Path) -> Path:
    if os.getuid():
        pytest.skip("only root can give a folder away")
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)
    return folder


@pytest.mark.parametrize(
    "make", [writable_by_others, below_a_writable_folder, linked_to_a_writable_folder, of_another_user]
)
@needs_compiler
def test_a_foreign_library_is_never_loaded(quick, caplog, tmp_path, make) -> None:
    """The cache holds a library of the right name whose constructor would run as us."""
    own = compiling.compiled("lerf")
    compiling.toolchain.cache_clear()
    cache = make(tmp_path / "foreign")
    quick.setenv("CONTINUA_CACHE", str(cache))
    quick.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    planted = cache / own.name
    planted.write_bytes(own.read_bytes())  # even its content hash is right
    with caplog.at_level(logging.WARNING, logger="continua"):
        loaded = compiling.compiled("lerf")
        assert compiling.compiled("lerf") == loaded
    assert loaded.parent == tmp_path / "temporary" / f"continua-{os.getuid()}"
    assert loaded.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cache.iterdir()] == [own.name]
    (told,) = (line for line in caplog.messages if "other users" in line)
    assert str(cache) in told
    assert str(loaded.parent) in told


@needs_compiler
def test_a_private_folder_that_was_taken_is_not_used(quick, tmp_path) -> None:
    cache, temporary = writable_by_others(tmp_path / "cache"), tmp_path / "temporary"
    temporary.mkdir()
    taken = writable_by_others(temporary / f"continua-{os.getuid()}")
    quick.setattr(tempfile, "tempdir", str(temporary))
    quick.setenv("CONTINUA_CACHE", str(cache))
    with pytest.raises(compiling.BuildError, match=f"{cache} and {taken}; name one of your own in CONTINUA_CACHE"):
        compiling.compiled("lerf")


@needs_compiler
def test_only_their_owner_writes_libraries(quick) -> None:
    before = os.umask(0)
    try:
        library = compiling.compiled("lerf")
    finally:
        os.umask(before)
    assert library.stat().st_mode & 0o777 == 0o644
    assert library.parent.stat().st_mode & 0o777 == 0o700
