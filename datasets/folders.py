"""Pictures in folders."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.registry import register
from utils.errors import InputError
from utils.files import atomic_file
from utils.images import list_pictures, read_rgb

CACHES = ("none", "bin", "in_memory")


def find_folder(candidates: str | Path | Sequence[str | Path]) -> Path:
    """The first of `candidates` that exists: the same pictures lie in different places in the layouts people use."""
    if isinstance(candidates, str | Path):
        candidates = [candidates]
    for candidate in candidates:
        if Path(candidate).is_dir():
            return Path(candidate)
    raise InputError(f"no folder {' or '.join(map(str, candidates))}; put the pictures there or change the config")


@register("image-folder")
class ImageFolder(Dataset):
    """The pictures of a folder, as (H, W, 3) uint8 RGB arrays.

    `root_path`: the folder, or several of which the first that exists is taken. `split_file`, `split_key`: a JSON
    file and the key in it that lists the file names to use; else all pictures by name. `first_k`: only so many.
    `repeat`: pass over them so often an epoch. `cache`: `none` decodes each time, `in_memory` once at the start,
    `bin` keeps decoded pixels as .npy files in `<parent>/_bin_<folder>`, which worker processes map into memory
    together.
    """

    def __init__(
        self,
        root_path: str | Sequence[str],
        split_file: str | None = None,
        split_key: str | None = None,
        first_k: int | None = None,
        repeat: int = 1,
        cache: str = "none",
    ):
        if cache not in CACHES:
            raise InputError(f"image-folder: cache '{cache}' does not exist; choose one of {', '.join(CACHES)}")
        root = find_folder(root_path)
        self.paths = list_pictures(root) if split_file is None else _split(root, split_file, split_key)
        self.paths = self.paths[:first_k]
        self.repeat = repeat
        self.bin_folder = root.parent / f"_bin_{root.name}" if cache == "bin" else None
        self.pictures: list[np.ndarray] | None = None
        if cache == "in_memory":
            with ThreadPoolExecutor() as pool:
                self.pictures = list(pool.map(read_rgb, self.paths))

    def __len__(self) -> int:
        return len(self.paths) * self.repeat

    def path(self, index: int) -> Path:
        """File of item `index`."""
        return self.paths[index % len(self.paths)]

    def __getitem__(self, index: int) -> np.ndarray:
        if self.pictures is not None:
            return self.pictures[index % len(self.paths)]
        path = self.path(index)
        return read_rgb(path) if self.bin_folder is None else _read_decoded(path, self.bin_folder)


@register("paired-image-folders")
class PairedImageFolders(Dataset):
    """LR and HR pictures in two folders, paired in order of name, as two (H, W, 3) uint8 RGB arrays.

    `root_path_1` LR, `root_path_2` HR; the other arguments are those of `image-folder`.
    """

    def __init__(self, root_path_1: str | Sequence[str], root_path_2: str | Sequence[str], **arguments):
        self.lr = ImageFolder(root_path_1, **arguments)
        self.hr = ImageFolder(root_path_2, **arguments)
        if len(self.lr.paths) != len(self.hr.paths):
            counts = " but ".join(f"{len(d.paths)} pictures in {d.paths[0].parent}" for d in (self.lr, self.hr))
            raise InputError(f"paired-image-folders: {counts}; both need the same")

    def __len__(self) -> int:
        return len(self.lr)

    def path(self, index: int) -> Path:
        """HR file of item `index`."""
        return self.hr.path(index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.lr[index], self.hr[index]


def _split(root: Path, split_file: str, split_key: str | None) -> list[Path]:
    try:
        names = json.loads(Path(split_file).read_text())[split_key]
    except FileNotFoundError:
        raise InputError(f"no split_file {split_file}; check the name") from None
    except (KeyError, TypeError):
        raise InputError(f"split_file {split_file} has no key '{split_key}'; set split_key") from None
    except ValueError as error:
        raise InputError(f"split_file {split_file} is not JSON: {error}") from None
    return [root / name for name in names]


def _read_decoded(path: Path, folder: Path) -> np.ndarray:
    """Pixels of `path` through its .npy copy in `folder`, made when it is missing or older than the picture."""
    copy = folder / f"{path.name}.npy"
    if not copy.exists() or copy.stat().st_mtime < path.stat().st_mtime:
        try:
            with atomic_file(copy) as temporary, open(temporary, "wb") as file:
                np.save(file, read_rgb(path))
        except InputError as error:
            raise InputError(f"{error}; or set cache: in_memory") from None
    return np.load(copy, mmap_mode="r")
