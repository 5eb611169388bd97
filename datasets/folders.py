"""Pictures in folders: alone, in pairs of LR and HR, warped, and mixed."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from torch.utils.data import ConcatDataset, Dataset

from datasets import make, name_of, register
from datasets.cache import PixelMap
from datasets.pairs import pair_names
from pictures.reading import list_pictures, read_rgb
from utils.config import Count, FilePath, FolderPaths
from utils.errors import InputError
from utils.files import read_json
from utils.geometry.grids import Size
from utils.geometry.homographies import Homography
from utils.geometry.matrices import matrix_of

MATRIX_ENDINGS = (".pth", ".npy", ".txt")
CACHES = ("none", "bin", "memmap", "in_memory")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width


class MissingFolder(InputError):
    """None of the places where pictures might lie is there."""


def find_folder(candidates: str | Path | Sequence[str | Path]) -> Path:
    """The first of `candidates` that exists: the same pictures lie in different places in the layouts people use."""
    if isinstance(candidates, str | Path):
        candidates = [candidates]
    for candidate in candidates:
        if Path(candidate).is_dir():
            return Path(candidate)
    raise MissingFolder(f"no folder {' or '.join(map(str, candidates))}; put the pictures there or change the config")


class PictureFiles(Dataset):
    """The pictures at `paths` in the folder `root`, as (H, W, 3) uint8 RGB arrays.

    `repeat`: pass over them so often an epoch. `cache`: `none` decodes each time, `in_memory` once at the start;
    `memmap`, in published configs `bin`, keeps decoded pixels in `<parent>/_map_<folder>` (see `PixelMap`).
    """

    def __init__(self, root: Path, paths: Sequence[Path], repeat: int, cache: str):
        if cache not in CACHES:
            raise InputError(f"{name_of(self)}: cache '{cache}' does not exist; choose one of {', '.join(CACHES)}")
        self.paths = list(paths)
        self.repeat = repeat
        self.pixels: PixelMap | None = None
        if cache in ("memmap", "bin"):
            self.pixels = PixelMap(root, root.parent / f"_map_{root.name}", self.paths)
        self.pictures: list[np.ndarray] | None = None
        if cache == "in_memory":
            with ThreadPoolExecutor() as pool:
                self.pictures = list(pool.map(read_rgb, self.paths))

    def __len__(self) -> int:
        return len(self.paths) * self.repeat

    def path(self, index: int) -> Path:
        """File of item `index`."""
        return self.paths[index % len(self.paths)]

    def files(self) -> list[Path]:
        """The files in order, each once."""
        return self.paths

    def sizes(self) -> list[Size]:
        """(height, width) of the files in order, each once, from their headers."""
        return [picture_size(path) for path in self.paths]

    def __getitem__(self, index: int) -> np.ndarray:
        if self.pictures is not None:
            return self.pictures[index % len(self.paths)]
        path = self.path(index)
        return read_rgb(path) if self.pixels is None else self.pixels.read(path)


@register("image-folder")
class ImageFolder(PictureFiles):
    """The pictures of a folder, as (H, W, 3) uint8 RGB arrays.

    `root_path`: the folder, or several of which the first that exists is taken. `split_file`, `split_key`: a JSON
    file and the key in it that lists the file names to use; else all pictures by name. `first_k`: only so many.
    `repeat` and `cache` as in `PictureFiles`.
    """

    paired = False

    def __init__(
        self,
        root_path: FolderPaths,
        split_file: FilePath | None = None,
        split_key: str | None = None,
        first_k: Count | None = None,
        repeat: Count = 1,
        cache: str = "none",
    ):
        root, paths = chosen(root_path, split_file, split_key)
        super().__init__(root, paths[:first_k], repeat, cache)


@register("paired-image-folders")
class PairedImageFolders(Dataset):
    """LR and HR pictures in two folders, paired by name, as two (H, W, 3) uint8 RGB arrays.

    `root_path_1` LR, `root_path_2` HR; the other arguments are those of `image-folder`. InputError names the files
    when one has no partner (see `pair_names`) or an LR picture is larger than its HR picture. `pair_sizes`: ((h, w),
    (H, W)) of every pair.
    """

    paired = True

    def __init__(
        self,
        root_path_1: FolderPaths,
        root_path_2: FolderPaths,
        split_file: FilePath | None = None,
        split_key: str | None = None,
        first_k: Count | None = None,
        repeat: Count = 1,
        cache: str = "none",
    ):
        lr_root, lr_paths = chosen(root_path_1, split_file, split_key)
        hr_root, hr_paths = chosen(root_path_2, split_file, split_key)
        pairs = pair_names(lr_root, lr_paths, hr_root, hr_paths)[:first_k]
        self.lr = PictureFiles(lr_root, [lr for lr, _ in pairs], repeat, cache)
        self.hr = PictureFiles(hr_root, [hr for _, hr in pairs], repeat, cache)
        self.pair_sizes: list[tuple[Size, Size]] = list(zip(self.lr.sizes(), self.hr.sizes(), strict=True))
        for (lr_path, hr_path), (lr, hr) in zip(pairs, self.pair_sizes, strict=True):
            if hr[0] < lr[0] or hr[1] < lr[1]:
                raise InputError(
                    f"paired-image-folders: {hr_path} is {hr[1]}x{hr[0]}, smaller than its LR picture {lr_path}, "
                    f"{lr[1]}x{lr[0]}; root_path_1 is LR"
                )

    def __len__(self) -> int:
        return len(self.lr)

    def path(self, index: int) -> Path:
        """HR file of item `index`."""
        return self.hr.path(index)

    def files(self) -> list[Path]:
        """The LR files in order, then the HR files."""
        return [*self.lr.files(), *self.hr.files()]

    def lr_path(self, index: int) -> Path:
        """LR file of item `index`."""
        return self.lr.path(index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.lr[index], self.hr[index]


@register("warped-image-folders")
class WarpedImageFolders(Dataset):
    """LR pictures with the homographies that map their pixels to those of HR pictures.

    `root_path_1`: LR pictures and, under the same name with the ending .pth, .npy or .txt, a 3x3 matrix each;
    `root_path_2`: HR pictures of the same names. Both may be lists of which the first that exists is taken. Items are
    (LR (h, w, 3), HR (H, W, 3), homography), uint8. InputError names the file that has no partner.
    """

    def __init__(self, root_path_1: FolderPaths, root_path_2: FolderPaths, first_k: Count | None = None):
        self.lr = ImageFolder(root_path_1, first_k=first_k)
        hr = {path.stem: path for path in ImageFolder(root_path_2).paths}
        self.pairs = [(path, hr.get(path.stem), self._matrix_path(path)) for path in self.lr.paths]
        for path, partner, _ in self.pairs:
            if partner is None:
                raise InputError(f"warped-image-folders: {path} has no HR picture of its name; check root_path_2")

    def _matrix_path(self, path: Path) -> Path:
        candidates = [path.with_suffix(ending) for ending in MATRIX_ENDINGS]
        found = [candidate for candidate in candidates if candidate.is_file()]
        if len(found) != 1:
            has = f"{found[0]} and {found[1]}" if found else "no homography"
            raise InputError(f"{path} has {has} beside it; expected one of {candidates[0]}, .npy and .txt")
        return found[0]

    def __len__(self) -> int:
        return len(self.pairs)

    def path(self, index: int) -> Path:
        """HR file of item `index`."""
        return self.pairs[index][1]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, Homography]:
        _, hr, matrix = self.pairs[index]
        return self.lr[index], read_rgb(hr), Homography(matrix_of(matrix))


@register("mixture")
class Mixture(ConcatDataset):
    """The pictures of several sets, one set after the other, as (H, W, 3) uint8 RGB arrays.

    `parts`: a `{name, args}` for each set of single pictures. An epoch passes over all of them, so the `repeat` of a
    part decides its share.
    """

    paired = False

    def __init__(self, parts: Sequence[Mapping]):
        if not parts:
            raise InputError("mixture: parts is empty; list the name and args of each set of pictures")
        super().__init__([make(part) for part in parts])
        for part, dataset in zip(parts, self.datasets, strict=True):
            if dataset.paired:
                raise InputError(f"mixture: takes single pictures, not '{part['name']}'; use 'image-folder'")

    def __getitem__(self, index: int) -> np.ndarray:
        return super().__getitem__(index)

    def path(self, index: int) -> Path:
        """File of item `index`."""
        for dataset in self.datasets:
            if index < len(dataset):
                return dataset.path(index)
            index -= len(dataset)
        raise IndexError(index)

    def files(self) -> list[Path]:
        """The files of all sets in order, each once."""
        return [path for dataset in self.datasets for path in dataset.files()]

    def sizes(self) -> list[Size]:
        """(height, width) of the files in order, each once, from their headers."""
        return [size for dataset in self.datasets for size in dataset.sizes()]


def picture_size(path: Path) -> Size:
    """(height, width) of the upright picture, read without decoding it; InputError when it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                width, height = picture.size
                # Only where the header has it: getexif() would decode other PNGs, and TIFF sizes are upright already.
                turned = "exif" in picture.info and picture.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        height, width = read_rgb(path).shape[:2]  # says in one line what is wrong with the file
        turned = False
    return (width, height) if turned else (height, width)


def chosen(root_path: str | Path | Sequence[str | Path], split_file: str | None, key: str | None) -> tuple[Path, list]:
    """The folder, and the pictures in it: those that `split_file` lists under `key`, at least one, else all by name."""
    root = find_folder(root_path)
    if split_file is None:
        return root, list_pictures(root)
    try:
        names = read_json(split_file, "split_file")[key]
    except (KeyError, TypeError):
        raise InputError(f"split_file {split_file} has no key '{key}'; set split_key") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"split_file {split_file}: '{key}' is no list of file names")
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or not (root / name).is_file():
            raise InputError(f"split_file {split_file}: '{key}' lists {name}, which is not in {root}")
    return root, [root / name for name in names]
