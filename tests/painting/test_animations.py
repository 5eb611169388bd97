"""Animated GIF, PNG and WebP through demo.py: frames, times, loops and transparency stay."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

import demo
from pictures.reading import read_rgb
from tests.commands import call, mistake
from tests.pairs import paired
from tests.pictures.making import noise

pytestmark = pytest.mark.usefixtures("empty_folder")
TWICE = ("--model", "nearest", "--scale", "2")
ENDINGS = ("gif", "png", "webp")
TIMES = (40, 120, 70, 330)  # ms


def shapes(transparent: bool = True) -> list[np.ndarray]:
    """Four (18, 24, 4) frames of a square that moves over stripes, or over nothing."""
    frames = []
    for number in range(len(TIMES)):
        frame = np.zeros((18, 24, 4), np.uint8)
        if not transparent:
            frame[:, ::3], frame[..., 3] = (20, 90, 160, 255), 255
        frame[4:12, 3 + 4 * number : 9 + 4 * number] = 250, 60 * number, 30, 255
        frames.append(frame)
    return frames


def animate(path: str, frames: list[np.ndarray], times=TIMES, loop: int | None = 0, **options) -> None:
    """By Pillow alone."""
    first, *others = map(Image.fromarray, frames)
    options |= {"lossless": True} if path.endswith("webp") else {}
    options |= {"disposal": 2} if path.endswith("gif") else {}
    options |= {} if loop is None else {"loop": loop}
    first.save(path, save_all=True, append_images=others, duration=list(times), **options)


def shown(path: str) -> tuple[list[np.ndarray], list[float], int | None]:
    """RGBA frames with black where nothing is seen, times, loop, by Pillow alone."""
    frames, times = [], []
    with Image.open(path) as file:
        for number in range(getattr(file, "n_frames", 1)):
            file.seek(number)
            frame = np.array(file.convert("RGBA"))
            frames.append(np.where(frame[..., 3:] > 0, frame, 0))
            times.append(file.info.get("duration"))
        return frames, times, file.info.get("loop")


def larger(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize(("given", "made", "transparent"), paired(ENDINGS, ENDINGS, [True, False]))
def test_frames_times_loop_and_alpha_stay(given, made, transparent) -> None:
    animate(f"in.{given}", shapes(transparent))
    call(demo, "--input", f"in.{given}", "--output", f"o.{made}", *TWICE)
    frames, times, loop = shown(f"o.{made}")
    assert (times, loop) == ([*TIMES], 0)
    for before, after in zip(shapes(transparent), frames, strict=True):
        assert np.array_equal(larger(before), after)


@pytest.mark.parametrize(
    ("given", "loop", "made", "expected"),
    [
        ("gif", None, "webp", 1),
        ("gif", 2, "png", 3),
        ("gif", 2, "gif", 2),
        ("png", 3, "gif", 2),
        ("webp", 5, "png", 5),
        ("gif", 65535, "webp", 65535),
    ],
)
def test_loops_of_gif_are_repetitions(given, loop, made, expected) -> None:
    animate(f"in.{given}", shapes(), loop=loop)
    call(demo, "--input", f"in.{given}", "--output", f"o.{made}", *TWICE)
    assert shown(f"o.{made}")[2] == expected


@pytest.mark.parametrize("made", ENDINGS)
def test_frames_that_repeat_are_computed_once_and_their_times_added(capsys, made) -> None:
    one, two, three, _ = shapes()
    animate("in.png", [one, two, two, three], blend=[0, 0, 1, 0])  # else Pillow joins them
    assert len(shown("in.png")[0]) == 4
    call(demo, "--input", "in.png", "--output", f"o.{made}", *TWICE)
    assert "in.png: 24x18 -> 48x36, 4 frames, 3 computed in" in capsys.readouterr().out
    after, times, _ = shown(f"o.{made}")
    assert times == [40, 190, 330]
    assert all(np.array_equal(larger(a), b) for a, b in zip((one, two, three), after, strict=True))


def test_times_that_a_gif_rounds_do_not_drift() -> None:
    animate("in.webp", shapes() * 6, [33] * 23 + [2])
    call(demo, "--input", "in.webp", "--output", "o.gif", *TWICE)
    frames, times, _ = shown("o.gif")
    assert (len(frames), set(times[:-1]), times[-1]) == (24, {30, 40}, 10)
    assert np.abs(np.cumsum(times)[:-1] - 33 * np.arange(1, 24)).max() <= 5


def test_other_formats_get_the_first_frame(capsys) -> None:
    animate("in.gif", shapes(transparent=False))
    options = ("--input", "in.gif", "--output", "o.tif", *TWICE)
    assert "only the first of its frames used" in mistake(capsys, demo, *options, "--strict")
    call(demo, *options)
    assert "only the first of its frames used" in capsys.readouterr().out
    with Image.open("o.tif") as file:
        assert np.array_equal(np.array(file.convert("RGBA")), larger(shapes(transparent=False)[0]))


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_a_broken_later_frame_is_one_line(capsys, ending) -> None:
    frames = [np.dstack([noise(40, 40, 3), np.full((40, 40), 255, np.uint8)]) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[..., 0] = 40 * number
    animate(f"in.{ending}", frames, [50] * 3)
    whole = Path(f"in.{ending}").read_bytes()
    Path(f"in.{ending}").write_bytes(whole[: len(whole) * 5 // 6])
    line = mistake(capsys, demo, "--input", f"in.{ending}", "--output", "o.png", *TWICE)
    assert f"in.{ending} cannot be read" in line
    assert not Path("o.png").exists()


def test_the_still_before_an_animation_is_left_out_and_said(capsys) -> None:
    first, *others = map(Image.fromarray, shapes())
    first.save("in.png", save_all=True, append_images=others, default_image=True, duration=[50, 60, 70], loop=0)
    call(demo, "--input", "in.png", "--output", "o.webp", *TWICE)
    assert "without the picture for viewers that show no animations" in capsys.readouterr().out
    frames, times, _ = shown("o.webp")
    assert times == [50, 60, 70]
    assert np.array_equal(frames[0], larger(shapes()[1]))


def test_crop_and_rotation_of_every_frame() -> None:
    animate("in.gif", shapes(transparent=False))
    call(demo, "--input", "in.gif", "--output", "o.png", *TWICE, "--crop", "10,6,30,20")
    for before, after in zip(shapes(transparent=False), shown("o.png")[0], strict=True):
        assert np.array_equal(larger(before)[6:26, 10:40], after)
    call(demo, "--input", "in.gif", "--output", "turned.gif", "--model", "nearest", "--rotate", "30")
    frames, times, _ = shown("turned.gif")
    assert times == [*TIMES]
    for frame in frames:  # corners are empty, also where the frame before was not
        assert (frame[0, 0, 3], frame[-1, -1, 3], frame[frame.shape[0] // 2, frame.shape[1] // 2, 3]) == (0, 0, 255)
    assert (frames[0] != frames[-1]).any()


def test_memory_for_all_frames_is_asked_for_before_painting(capsys) -> None:
    animate("in.gif", shapes())
    options = ("--input", "in.gif", "--output", "o.png", "--model", "nearest", "--size", "2000x1500")
    assert "4 frames of 2000x1500 needs about" in mistake(capsys, demo, *options, "--memory", "100M")


def test_what_a_gif_cannot_hold_is_said(capsys) -> None:
    many = np.dstack([noise(30, 30, 3), np.full((30, 30), 200, np.uint8)])
    many[:, :9, 3] = 100
    animate("in.png", [many, many[::-1]], [50, 50])
    options = ("--input", "in.png", "--output", "o.gif", *TWICE, "--depth", 16)
    line = mistake(capsys, demo, *options, "--strict")
    assert "16 bits reduced to 8 bits, transparency reduced to all or nothing, colours reduced to 256" in line
    call(demo, *options)
    for frame in shown("o.gif")[0]:
        assert np.unique(frame[:, :18, 3]).tolist() == [0]
        assert np.unique(frame[:, 18:, 3]).tolist() == [255]


@pytest.mark.parametrize(("ending", "longest"), [("gif", 655350), ("png", 65535)])
def test_a_frame_that_is_shown_longer_than_the_format_counts_is_refused(ending, longest, capsys) -> None:
    options = ("--input", "in.webp", "--output", f"o.{ending}", *TWICE)
    animate("in.webp", shapes()[:2], [longest, 40])
    call(demo, *options)
    assert shown(f"o.{ending}")[1][0] == longest
    animate("in.webp", shapes()[:2], [longest + 10, 40])
    line = mistake(capsys, demo, *options, "--overwrite")
    assert f"a frame of {(longest + 10) / 1000:g} s is beyond {ending.upper()}'s {longest / 1000:g} s" in line


def test_metadata_and_orientation() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "a"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    animate("in.webp", shapes(), exif=exif.tobytes(), icc_profile=profile)
    call(demo, "--input", "in.webp", "--output", "o.png", *TWICE)
    for before, after in zip(shapes(), shown("o.png")[0], strict=True):
        assert np.array_equal(larger(np.rot90(before, -1)), after)
    with Image.open("o.png") as file:
        assert file.info["icc_profile"] == profile
        assert (file.getexif()[ExifTags.Base.Artist], file.getexif()[ExifTags.Base.Orientation]) == ("a", 1)


def test_what_is_written_beside_shows_the_first_frame() -> None:
    animate("in.gif", shapes(transparent=False))
    call(demo, "--input", "in.gif", "--output", "o.png", *TWICE, "--compare")
    call(demo, "--input", "in.gif", "--output", "t.gif", "--model", "nearest", "--rotate", "9", "--mask", "m.png")
    with Image.open("m.png") as mask:
        assert np.array_equal(np.array(mask) >= 128, shown("t.gif")[0][0][..., 3] > 0)
    Image.fromarray(shapes(transparent=False)[0]).save("first.png")
    call(demo, "--input", "first.png", "--output", "f.png", *TWICE, "--compare")
    assert np.array_equal(read_rgb("o_compare.png"), read_rgb("f_compare.png"))
