"""How many examples of a property are tried, `--hypothesis-profile short` (test_sanitizers.py) or `long` (by hand), and
compilers and caches of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from models.native import backends, compiling
from tests.models.native.cases import SQUARES, script

settings.register_profile("short", max_examples=8)
settings.register_profile("long", max_examples=1000)


@pytest.fixture(scope="session")
def made() -> Path:
    """The library `lerf`, compiled for this machine; skips where there is no compiler."""
    if backends.library("lerf") is None:
        pytest.skip("needs a C++ compiler")
    return compiling.compiled("lerf")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A process that has built nothing yet, with an empty cache."""
    monkeypatch.setattr(backends, "_outcomes", {})
    monkeypatch.setenv("CONTINUA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "_spent", 0.0)
    remembered = (backends._tell, compiling.toolchain, compiling._tell_of_compiling, compiling._private_folder)
    for cached in remembered:
        cached.cache_clear()
    yield monkeypatch
    for cached in remembered:
        cached.cache_clear()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The headers and squares.cpp, a library that is compiled soon."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for header in compiling.SOURCES.glob("*.h"):
        (folder / header.name).write_bytes(header.read_bytes())
    (folder / "squares.cpp").write_text(SQUARES)
    monkeypatch.setattr(compiling, "SOURCES", folder)
    return folder


@pytest.fixture
def quick(made: Path, forgetful: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """As `forgetful`, with a compiler that takes no time: it makes the library `lerf` whatever it is asked for."""
    copy = f'for word; do [ "$last" = -o ] && cat {made} > "$word"; last=$word; done'
    forgetful.setenv("CXX", script(tmp_path, copy))
    return forgetful
