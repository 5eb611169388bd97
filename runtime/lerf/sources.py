"""Sources and compiler flags of the C library."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "src"
HEADERS = FOLDER.parents[1] / "models" / "native"  # the routines
# Products are rounded before they are added, as PyTorch rounds them: results are those of the models' own path.
FLAGS = ("-ffp-contract=off", "-fno-openmp", "-fvisibility=hidden")


def sources_key() -> str:
    """A hash of all that the library is compiled from."""
    files = [*sorted(SOURCES.glob("*.[ch]*")), *sorted(HEADERS.glob("*.h"))]
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
