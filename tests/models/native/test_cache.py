"""The cache of compiled routines, which others could have touched."""

import logging
import os
import tempfile
from pathlib import Path

import pytest

from models.native import backends, compiling
from tests.models.native.building import needs_compiler
from utils.errors import InputError


@needs_compiler
def test_a_cache_may_be_the_present_folder(quick, tmp_path) -> None:
    quick.chdir(tmp_path)
    quick.setenv("CONTINUA_CACHE", ".")
    assert backends.library("lerf") is not None
    (library,) = tmp_path.glob("*.so")
    assert library.name.startswith("lerf-")


def test_users_without_a_home_folder_are_told(forgetful) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTINUA_CACHE", "XDG_CACHE_HOME"):
        forgetful.delenv(name, raising=False)
    forgetful.setattr(compiling.Path, "home", no_home)
    with pytest.raises(InputError, match="home"):
        compiling.cache_folder()
    assert backends.library("lerf") is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
@needs_compiler
def test_a_damaged_library_is_compiled_again(quick, damage) -> None:
    """A truncated one was SIGBUS, a flipped one SIGSEGV, and an empty one stayed for ever."""
    library = compiling.compiled("lerf")
    whole = library.read_bytes()
    flipped = whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:]
    library.write_bytes({"truncated": whole[:5000], "flipped": flipped, "empty": b""}[damage])
    again = compiling.compiled("lerf")
    assert compiling.is_intact(again)
    assert again.stat().st_size > 5000
    assert list(again.parent.iterdir()) == [again]
    assert backends.library("lerf") is not None


@needs_compiler
def test_a_library_that_others_may_write_is_compiled_again(quick) -> None:
    library = compiling.compiled("lerf")
    library.chmod(0o666)
    assert not compiling.is_intact(library)
    assert not compiling.compiled("lerf").stat().st_mode & 0o022


@needs_compiler
def test_a_link_is_not_loaded(quick, tmp_path) -> None:
    library = compiling.compiled("lerf")
    elsewhere = library.rename(tmp_path / library.name)
    library.symlink_to(elsewhere)
    again = compiling.compiled("lerf")
    assert again == library
    assert not again.is_symlink()


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


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o002, 0o644), (0o077, 0o600)])
@needs_compiler
def test_libraries_respect_the_umask_but_only_their_owner_writes_them(quick, umask, mode) -> None:
    before = os.umask(umask)
    try:
        library = compiling.compiled("lerf")
    finally:
        os.umask(before)
    assert library.stat().st_mode & 0o777 == mode
    assert library.parent.stat().st_mode & 0o777 == 0o700
