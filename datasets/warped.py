"""Pictures seen under a homography, beside the pictures they were taken from."""

from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.folders import ImageFolder
from datasets.registry import register
from pictures.reading import read_rgb
from utils.config import Count, FolderPaths
from utils.errors import InputError
from utils.geometry.homographies import Homography, read_homography

MATRIX_ENDINGS = (".pth", ".npy", ".txt")


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
        return self.lr[index], read_rgb(hr), read_homography(matrix)
