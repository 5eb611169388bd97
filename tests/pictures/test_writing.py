"""Pictures to files, all or nothing."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pictures.formats import WRITTEN, check_writable, format_of
from pictures.metadata import Metadata
from pictures.picture import Picture, PixelFormat
from pictures.reading import read_picture, read_rgb
from pictures.writing import write_picture
from tests.pictures.making import noise
from utils.errors import InputError
from utils.files import atomic_file


@pytest.fixture(autouse=True)
def _has_package(request: pytest.FixtureRequest) -> None:
    """Tests of a format skip without its package."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("ending") == ".exr":
        pytest.importorskip("OpenEXR")


LOSSLESS = [ending for ending in WRITTEN if ending not in (".jpg", ".jpeg", ".gif", ".pgm", ".pnm", ".tiff")]


@pytest.mark.parametrize("ending", LOSSLESS)
def test_what_a_format_holds_survives_exactly(tmp_path, ending) -> None:
    for depth, held in WRITTEN[ending].channels.items():
        for channels in held:
            pixels = noise(5, 7, len(channels), dtype=np.uint8 if depth == 8 else np.uint16)
            if depth == 32:
                pytest.importorskip("tifffile")
                pixels = (pixels / 65535).astype(np.float32)
            written = Picture(pixels, channels)
            assert write_picture(tmp_path / f"new/p{ending}", written) == []
            read = read_picture(tmp_path / f"new/p{ending}")
            assert (read.pixel_format, read.losses) == (PixelFormat(channels, depth), ())
            if ending == ".exr":  # through a curve and back, and colours times alpha
                assert read.pixels == pytest.approx(pixels, abs=2e-6)
            else:
                assert np.array_equal(read.pixels, pixels)


def test_floats_are_written_in_their_span(tmp_path) -> None:
    pytest.importorskip("tifffile")
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 2, 3)
    write_picture(tmp_path / "p.tif", Picture(values, "RGB", span=(-2.0, 6.0)))
    assert read_picture(tmp_path / "p.tif").span == (-2, 6)
    assert read_picture(tmp_path / "p.tif").pixels == pytest.approx(values, abs=1e-6)


def test_many_rows_of_16_bits(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pictures.png.PNG_LARGEST_CHUNK", 1000)
    pixels = noise(70, 31, 3, dtype=np.uint16)
    write_picture(tmp_path / "p.png", Picture(pixels, "RGB"))
    assert np.array_equal(read_picture(tmp_path / "p.png").pixels, pixels)


@pytest.mark.parametrize("ending", WRITTEN)
@pytest.mark.parametrize("shape", [(5, 300, 3), (1, 1, 3), (300, 5), (1, 1)])
def test_every_written_format_keeps_the_size(tmp_path, ending, shape) -> None:
    write_picture(tmp_path / f"p{ending}", noise(*shape))
    assert read_rgb(tmp_path / f"p{ending}").shape == (*shape[:2], 3)


def test_lossy_formats_lose_little(tmp_path) -> None:
    pixels = noise(64, 64, 3)
    write_picture(tmp_path / "p.webp", pixels)
    assert np.array_equal(read_rgb(tmp_path / "p.webp"), pixels)
    write_picture(tmp_path / "p.jpg", pixels)
    error = np.abs(read_rgb(tmp_path / "p.jpg").astype(int) - pixels).mean()
    assert error < 4  # 15 at Pillow's quality of 75, 55 with its halved colours


@pytest.mark.parametrize(
    ("ending", "kind", "held", "losses"),
    [
        (
            ".png",
            PixelFormat("CMYK", 16),
            PixelFormat("RGB", 8),
            ["CMYK converted to RGB", "16 bits reduced to 8 bits"],
        ),
        (".png", PixelFormat("L", 32), PixelFormat("L", 16), ["floats reduced to 16 bits"]),
        (".webp", PixelFormat("LA", 8), PixelFormat("RGBA", 8), []),
        (".jpg", PixelFormat("RGBA", 16), PixelFormat("RGB", 8), ["transparency filled", "16 bits reduced to 8 bits"]),
        (".jpg", PixelFormat("CMYK", 8), PixelFormat("CMYK", 8), []),
        (".jp2", PixelFormat("LA", 16), PixelFormat("LA", 8), ["16 bits reduced to 8 bits"]),
        (".tif", PixelFormat("LA", 16), PixelFormat("RGBA", 16), []),
    ],
)
def test_what_a_format_cannot_hold_is_said(ending, kind, held, losses) -> None:
    assert format_of(f"p{ending}").pixel_format_for(kind) == (held, losses)


@pytest.mark.parametrize(("ending", "side"), [("jpg", 65500), ("webp", 16383)])
def test_limits_of_formats_are_those_of_the_encoders(tmp_path, ending, side) -> None:
    form = format_of(f"p.{ending}")
    form.check_size("p", (1, side), PixelFormat("RGB", 8))
    write_picture(tmp_path / f"p.{ending}", np.zeros((1, side, 3), np.uint8))
    with pytest.raises(InputError, match=f"{side} pixels"):
        form.check_size("p", (1, side + 1), PixelFormat("RGB", 8))
    with pytest.raises(InputError):
        write_picture(tmp_path / f"q.{ending}", np.zeros((1, side + 1, 3), np.uint8))


def test_files_of_4_gib_are_refused_where_offsets_end() -> None:
    for name in ("p.tif", "p.bmp"):
        format_of(name).check_size(name, (30000, 30000), PixelFormat("RGB", 8))
        with pytest.raises(InputError, match="GiB"):
            format_of(name).check_size(name, (40000, 40000), PixelFormat("RGB", 8))


@pytest.mark.parametrize("name", ["p.icns", "p.ico", "p.pdf", "p.eps", "p.xbm", "p"])
def test_formats_that_change_pictures_are_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match=f"'{Path(name).suffix}' is no format"):
        check_writable(tmp_path / name)
    assert check_writable(tmp_path / "p.JPG") == tmp_path / "p.JPG"


@pytest.mark.parametrize(
    ("given", "meant"), [(".jpgg", ".jpg"), (".ico", ".png"), (".avif", ".jpg"), (".hdr", ".tif"), (".j2k", ".jp2")]
)
def test_the_ending_that_is_proposed_is_near_in_kind(given, meant) -> None:
    with pytest.raises(InputError, match=rf"did you mean '\{meant}'\?"):
        check_writable(f"p{given}")


def test_folder_of_a_target_is_checked_and_not_made(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("p.png", "new/deeper/p.png", tmp_path / "new/deeper/p.png"):
        assert check_writable(name) == Path(name)
    Path("file").write_text("")
    for name in ("file/p.png", "file/new/p.png"):
        with pytest.raises(InputError, match="file is not a folder"):
            check_writable(name)
    Path("folder.png").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        check_writable("folder.png")
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" or not mode & os.W_OK)
    for name in ("locked/p.png", "locked/new/deeper/p.png"):
        with pytest.raises(InputError, match="no permission to write in locked;"):
            check_writable(name)
    assert check_writable("p.png") == Path("p.png")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.png", "locked"]


def test_unwritable_targets_leave_nothing_behind(tmp_path) -> None:
    for name in ("x.nonsense", "x"):
        with pytest.raises(InputError, match="format"):
            write_picture(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_picture(tmp_path / "file" / "x.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "old").mkdir()
    for name in ("new/deeper/x.jpg", "old/x.jpg"):
        with pytest.raises(InputError, match=name):
            write_picture(tmp_path / name, np.zeros((1, 70000, 3), np.uint8))  # JPEG ends at 65500
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "old"]


def test_failure_leaves_the_files_of_others(tmp_path) -> None:
    def lose_the_file() -> None:
        with atomic_file(tmp_path / "new/deeper/x.png") as temporary:
            temporary.rename(tmp_path / "new/y.png")

    with pytest.raises(FileNotFoundError):
        lose_the_file()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["new", "y.png"]


def test_links_are_followed(tmp_path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "store/real.png")
    for value in (1, 2):  # not there yet, and there
        write_picture(tmp_path / "link.png", np.full((2, 2), value, np.uint8))
        assert (tmp_path / "link.png").is_symlink()
        assert read_rgb(tmp_path / "store/real.png").max() == value


@pytest.mark.parametrize("ending", [".png", ".jp2", ".tif", ".webp", ".jpg"])
def test_full_disks_end_in_an_error(tmp_path, ending) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write"):
            write_picture(tmp_path / f"p{ending}", noise(200, 200, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_cannot_be_written_is_left_out_and_said(tmp_path) -> None:
    picture = Picture(noise(4, 4, 3), "RGB", Metadata(exif=bytes(70000)))  # a JPEG's part ends at 64 KiB
    (lost,) = write_picture(tmp_path / "p.jpg", picture)
    assert lost.startswith("all metadata (")
    assert read_picture(tmp_path / "p.jpg").metadata == Metadata(dpi=None)
    assert write_picture(tmp_path / "p.jpg", replace(picture, metadata=Metadata())) == []
