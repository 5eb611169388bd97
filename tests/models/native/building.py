"""A compiler and a cache of the test's own."""

from pathlib import Path

import pytest

SQUARES = """
#include "common.h"

extern "C" const char *squares(int64_t count, double *out, int32_t threads) {
    return completed([&] {
        parallel(count, threads, [&] { return [&](int64_t item) { out[item] = double(item * item); }; });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = signature("squares", squares);
    return text.c_str();
}
"""


needs_compiler = pytest.mark.usefixtures("made")  # of conftest.py


def script(folder: Path, text: str) -> str:
    compiler = folder / "compiler"
    compiler.write_text(f"#!/bin/sh\n{text}\n")
    compiler.chmod(0o755)
    return str(compiler)
