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


@pytest.fixture(autouse=True)
def _has_package(request: pytest.FixtureRequest) -> None:
    """Tests of a format skip without its package."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("ending") == ".exr":
        pytest.importorskip("OpenEXR")


LOSSLESS = {*WRITTEN} - {".jpg", ".jpeg", ".gif", ".pgm", ".pnm", ".tiff", ".avif"}


@pytest.mark.parametrize("ending", sorted(LOSSLESS))
def test_what_a_format_holds_survives_exactly(tmp_path, ending) -> None:
    for depth, channels in ((depth, kind) for depth, held in WRITTEN[ending].channels.items() for kind in held):
        pixels = noise(5, 7, len(channels), dtype=np.uint8 if depth == 8 else np.uint16)
        if depth == 32:
            pytest.importorskip("tifffile")
            pixels = (pixels / 65535).astype(np.float32)
        assert write_picture(tmp_path / f"new/p{ending}", Picture(pixels, channels)) == []
        read = read_picture(tmp_path / f"new/p{ending}")
        assert (read.pixel_format, read.losses) == (PixelFormat(channels, depth), ())
        # EXR goes through a curve and back, colours times alpha
        assert np.array_equal(read.pixels, pixels) or read.pixels == pytest.approx(
            pixels, abs=2e-6 * (ending == ".exr")
        )


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
@pytest.mark.parametrize("shape", [(5, 300, 3), (1, 1)])
def test_every_written_format_keeps_the_size(tmp_path, ending, shape) -> None:
    write_picture(tmp_path / f"p{ending}", noise(*shape))
    assert read_rgb(tmp_path / f"p{ending}").shape == (*shape[:2], 3)


@pytest.mark.parametrize(("ending", "most"), [("webp", 0), ("jpg", 4), ("avif", 4)])
def test_lossy_formats_lose_little(tmp_path, ending, most) -> None:
    pixels = noise(64, 64, 3)
    write_picture(tmp_path / f"p.{ending}", pixels)
    error = np.abs(read_rgb(tmp_path / f"p.{ending}").astype(int) - pixels).mean()
    assert error <= most  # a JPEG of Pillow's quality 15, with its halved colours 55


def test_quality(tmp_path) -> None:
    sizes = []
    for form in (format_of("p.avif").of_quality(20), format_of("p.avif"), format_of("p.webp").of_quality(100)):
        write_picture(tmp_path / "p.avif", noise(64, 64, 3), form=form)
        sizes.append((tmp_path / "p.avif").stat().st_size)
    assert 2 * sizes[0] < sizes[1]
    with pytest.raises(InputError, match="has no loss"):
        format_of("p.png").of_quality(90)


@pytest.mark.parametrize(
    ("ending", "kind", "held", "losses"),
    [
        (".png", ("CMYK", 16), ("RGB", 8), ["CMYK converted to RGB", "16 bits reduced to 8 bits"]),
        (".png", ("L", 32), ("L", 16), ["floats reduced to 16 bits"]),
        (".webp", ("LA", 8), ("RGBA", 8), []),
        (".jpg", ("RGBA", 16), ("RGB", 8), ["transparency filled", "16 bits reduced to 8 bits"]),
        (".jpg", ("CMYK", 8), ("CMYK", 8), []),
        (".jp2", ("LA", 16), ("LA", 8), ["16 bits reduced to 8 bits"]),
        (".tif", ("LA", 16), ("RGBA", 16), []),
    ],
)
def test_what_a_format_cannot_hold_is_said(ending, kind, held, losses) -> None:
    assert format_of(f"p{ending}").pixel_format_for(PixelFormat(*kind)) == (PixelFormat(*held), losses)


@pytest.mark.parametrize(("ending", "side"), [("jpg", 65500), ("webp", 16383)])
def test_limits_of_formats_are_those_of_the_encoders(tmp_path, ending, side) -> None:
    form = format_of(f"p.{ending}")
    form.check_size("p", (1, side), PixelFormat("L", 8))
    write_picture(tmp_path / f"p.{ending}", np.zeros((1, side), np.uint8))
    with pytest.raises(InputError, match=f"{side} pixels"):
        form.check_size("p", (1, side + 1), PixelFormat("L", 8))
    with pytest.raises(InputError):
        write_picture(tmp_path / f"q.{ending}", np.zeros((1, side + 1), np.uint8))


def test_files_of_4_gib_are_refused_where_offsets_end() -> None:
    format_of("p.tif").check_size("p.tif", (30000, 30000), PixelFormat("RGB", 8))
    with pytest.raises(InputError, match="GiB"):
        format_of("p.tif").check_size("p.tif", (40000, 40000), PixelFormat("RGB", 8))


@pytest.mark.parametrize("name", ["p.ico", "p.pdf", "p"])
def test_formats_that_change_pictures_are_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match="cannot write"):
        check_writable(tmp_path / name)
    assert check_writable(tmp_path / "p.JPG") == tmp_path / "p.JPG"


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
        with pytest.raises(InputError, match="cannot write"):
            write_picture(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_picture(tmp_path / "file" / "x.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "old").mkdir()
    for name in ("new/deeper/x.jpg", "old/x.jpg"):
        with pytest.raises(InputError, match=name):
            write_picture(tmp_path / name, np.zeros((1, 70000, 3), np.uint8))  # JPEG ends at 65500
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "old"]


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
