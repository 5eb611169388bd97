"""Films through demo.py: as long, as many frames, the same times, colours and sound; stopped runs go on."""

from pathlib import Path

import numpy as np
import pytest

import demo
from painting import films
from painting.painter import Painter
from pictures.films.writing import available
from tests.commands import call, mistake
from tests.pictures.films.making import make_film, packets, patterns, shown
from utils.errors import InputError

av = pytest.importorskip("av", reason="films need PyAV")
pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
pytestmark = pytest.mark.usefixtures("empty_folder")
TWICE = ("--model", "nearest", "--scale", "2")


def fail_at(monkeypatch, number: int, error: Exception) -> None:
    """Painting raises an error once, at so many frames."""
    paint, count = Painter.paint, 0

    def failing(self, job, picture):
        nonlocal count
        count += 1
        if count == number:
            raise error
        return paint(self, job, picture)

    monkeypatch.setattr(Painter, "paint", failing)


def enlarge(*options) -> None:
    call(demo, "--input", "in.mp4", *TWICE, *options)


@pytest.mark.parametrize(
    ("codec", "output"), [("h264", "o.mp4"), ("h265", "o.mp4"), ("av1", "o.mp4"), ("ffv1", "o.mkv")]
)
def test_what_a_film_keeps(codec, output) -> None:
    if codec not in available():
        pytest.skip(f"this PyAV has no encoder of {codec}")
    make_film(Path("in.mp4"), patterns(11))
    enlarge("--output", output, "--codec", codec)
    given, made = shown("in.mp4"), shown(output)
    offset = made[0][0] - given[0][0]  # Matroska holds no times below 0, with which sound may begin
    assert offset == 0 or output.endswith(".mkv")
    assert [float(time - offset) for time in made[0]] == pytest.approx([*map(float, given[0])], abs=1.1e-3)
    sound = [data for _, data in packets("in.mp4", "audio")]
    assert [data for _, data in packets(output, "audio")] == sound
    for before, after in zip(given[1], made[1], strict=True):
        assert np.abs(before.repeat(2, 0).repeat(2, 1).astype(int) - after).mean() < 5
    with av.open(output) as container:
        assert container.streams.video[0].codec_context.name.startswith({"h265": "hevc", "av1": ""}.get(codec, codec))


COLOURS = {"709": (1, 1), "601": (6, 1), "full range": (1, 2), "2020": (9, 1), "not said": (2, 0)}


@pytest.mark.parametrize("colours", COLOURS.values(), ids=COLOURS)
def test_colours_stay(colours) -> None:
    """Those of a film that says none are what players take for it, 601."""
    patches = np.zeros((32, 64, 3), np.uint8)
    for number, colour in enumerate([(200, 30, 40), (20, 180, 60), (40, 60, 210), (250, 250, 250)]):
        patches[:, 16 * number : 16 * (number + 1)] = colour
    make_film(Path("in.mp4"), [patches] * 3, colours=colours, sound=False)
    enlarge("--output", "o.mp4", "--quality", "2")
    with av.open("o.mp4") as container:
        frame = next(container.decode(video=0))
    assert (int(frame.colorspace), int(frame.color_range)) == (colours if colours[1] else (6, 1))
    made = shown("o.mp4")[1][0]
    for number in range(4 if colours[1] else 0):
        centre = made[32, 32 * number + 16].astype(int)
        assert np.abs(centre - patches[16, 16 * number + 8]).max() <= 4


def test_times_that_vary_and_frames_that_repeat(capsys) -> None:
    first, second, third = patterns(3)
    times = [0, 20, 100, 130, 300, 310]
    make_film(Path("in.mkv"), [first, first, second, third, third, third], times, sound=False, codec="ffv1")
    call(demo, "--input", "in.mkv", "--output", "o.mkv", *TWICE, "--codec", "ffv1")
    assert shown("o.mkv")[0] == shown("in.mkv")[0]
    assert "6 frames, 3 computed" in capsys.readouterr().out


def test_a_decoder_logs_nothing_by_way_of_python() -> None:
    """As torchvision's older readers have it: a film that is closed while a thread logs would wait for ever."""
    av = pytest.importorskip("av")
    av.logging.set_level(av.logging.ERROR)
    make_film(Path("in.mp4"), patterns(3))
    enlarge("--output", "o.mkv", "--codec", "ffv1")
    assert av.logging.get_level() is None


def test_part_of_a_film() -> None:
    make_film(Path("in.mp4"), patterns(40))
    enlarge("--output", "o.mkv", "--codec", "ffv1", "--frames", "10:25")
    given, made = shown("in.mp4"), shown("o.mkv")
    assert len(made[0]) == 15
    differences = [np.abs(frame[::2, ::2].astype(int) - made[1][0][::4, ::4]).mean() for frame in given[1]]
    assert np.argmin(differences) == 10
    times = [float(time - given[0][10]) for time in given[0][10:25]]
    assert [float(time - made[0][0]) for time in made[0]] == pytest.approx(times, abs=1.1e-3)
    assert 0.4 < packets("o.mkv", "audio")[-1][0] < 0.51


def test_a_stopped_film_goes_on_and_equals_the_uninterrupted_one(monkeypatch, capsys) -> None:
    monkeypatch.setattr(films, "SEGMENT", 8)
    make_film(Path("in.mp4"), patterns(30))
    way = ("--codec", "ffv1", "--output")  # libx264's bytes may differ from run to run
    enlarge(*way, "whole.mkv")
    fail_at(monkeypatch, 22, RuntimeError("as if killed"))  # the first is painted before all others, to know the size
    with pytest.raises(RuntimeError, match="as if killed"):
        enlarge(*way, "o.mkv")
    assert not Path("o.mkv").exists()
    options = ("--input", "in.mp4", *way, "o.mkv", "--model", "nearest")
    assert "--resume goes on" in mistake(capsys, demo, *options, "--scale", 2)
    assert "other scale" in mistake(capsys, demo, *options, "--scale", 3, "--resume")
    enlarge(*way, "o.mkv", "--resume")
    assert "30 frames, 14 computed, 16 from before" in capsys.readouterr().out
    for made, whole in zip(shown("o.mkv"), shown("whole.mkv"), strict=True):
        assert np.array_equal(made, whole)
    assert sorted(path.name for path in Path().glob("*o.mkv*")) == ["o.mkv"]


def test_films_are_turned_upright() -> None:
    make_film(Path("in.mp4"), patterns(2), rotation=90, sound=False)
    enlarge("--output", "o.mp4")
    before, after = shown("in.mp4")[1][0], shown("o.mp4")[1][0]
    upright = np.rot90(before).repeat(2, 0).repeat(2, 1)
    assert np.abs(upright.astype(int) - after).mean() < 5


def test_transparency_that_a_warp_leaves(capsys) -> None:
    make_film(Path("in.mp4"), patterns(2), sound=False)
    options = ("--input", "in.mp4", "--model", "nearest", "--rotate", 30)
    assert "--background black" in mistake(capsys, demo, *options, "--output", "o.mp4")
    call(demo, *options, "--output", "o.mkv", "--codec", "ffv1")
    with av.open("o.mkv") as container:
        alpha = next(container.decode(video=0)).to_ndarray(format="rgba")[..., 3]
    assert (alpha[0, 0], alpha[len(alpha) // 2, alpha.shape[1] // 2]) == (0, 255)


def test_sides_that_the_format_cannot_hold(capsys) -> None:
    make_film(Path("in.mp4"), patterns(2), sound=False)
    call(demo, "--input", "in.mp4", "--output", "o.mp4", "--model", "nearest", "--size", "65x37")
    assert shown("o.mp4")[1][0].shape == (36, 64, 3)
    assert "without the last 1 row and 1 column" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "o.png"), "expected an ending .mp4"),
        (("--output", "o.webm", "--codec", "h264"), "write a .mkv"),
        (("--output", "o.mkv", "--codec", "ffv1", "--quality", 3), "lossless"),
        (("--output", "o.mp4", "--quality", 60), "from 0 to 51"),
        (("--output", "o.mp4", "--frames", "9:"), "fewer frames"),
        (("--output", "o.mp4", "--mask", "m.png"), "--mask"),
        (("--output", "o.webm", "--strict"), "remove --strict"),
        (("--output", "in.mp4", "--overwrite"), "different files"),
        (("--output", "o.mp4", "--frames", "9:9"), "--frames"),
    ],
)
def test_mistakes(capsys, options, words) -> None:
    make_film(Path("in.mp4"), patterns(3))
    kept = Path("in.mp4").read_bytes()
    assert words in mistake(capsys, demo, "--input", "in.mp4", *TWICE, *options)
    assert [path.name for path in Path().iterdir()] == ["in.mp4"]
    assert Path("in.mp4").read_bytes() == kept


def test_what_is_no_film(capsys) -> None:
    Path("in.mp4").write_text("no film")
    assert "in.mp4" in mistake(capsys, demo, "--input", "in.mp4", "--output", "o.mp4", *TWICE)
    assert "no film missing.mkv" in mistake(capsys, demo, "--input", "missing.mkv", *TWICE)
    Path("in.mkv").touch()
    assert "--compression is for pictures" in mistake(capsys, demo, "--input", "in.mkv", *TWICE, "--compression", "0")
    assert "--resume is for films" in mistake(capsys, demo, "--input", "x.png", *TWICE, "--resume")


def cut_film(ending: str) -> None:
    """The first half of a film, with its index first."""
    made = make_film(Path(f"whole.{ending}"), patterns(60), sound=ending == "mkv")
    if ending != "mkv":
        with av.open(str(made)) as given, av.open("fast.mp4", "w", options={"movflags": "faststart"}) as output:
            stream = output.add_stream_from_template(given.streams.video[0])
            for packet in given.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
        made = Path("fast.mp4")
    content = made.read_bytes()
    Path(f"in.{ending}").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_film_that_is_cut_short_gives_what_there_is(monkeypatch, capsys, ending) -> None:
    monkeypatch.setattr(films, "SEGMENT", 8)
    cut_film(ending)
    options = ("--input", f"in.{ending}", *TWICE)
    with pytest.raises(SystemExit) as ended:
        call(demo, *options, "--output", "o.mkv")
    assert ended.value.code == 1
    count = len(shown("o.mkv")[0])
    assert 8 < count < 50
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"in.{ending} ")
    assert said.endswith(f"cut short; o.mkv ends there, after {count} frames")
    line = mistake(capsys, demo, *options, "--output", "strict.mkv", "--strict")
    assert f"remove --strict to keep the {count} frames" in line
    call(demo, *options, "--output", "part.mkv", "--frames", "2:9")
    assert len(shown("part.mkv")[0]) == 7
    assert not [path.name for path in Path().iterdir() if path.name.startswith(".") or path.name == "strict.mkv"]


def test_a_frame_that_cannot_be_painted_leaves_what_is_done(monkeypatch, capsys) -> None:
    monkeypatch.setattr(films, "SEGMENT", 4)
    make_film(Path("in.mp4"), patterns(10), sound=False)
    fail_at(monkeypatch, 7, InputError("no memory"))
    line = mistake(capsys, demo, "--input", "in.mp4", "--output", "o.mp4", *TWICE)
    assert line.endswith("no memory; 4 frames are done, --resume continues after them")
    enlarge("--output", "o.mp4", "--resume")
    assert len(shown("o.mp4")[0]) == 10
