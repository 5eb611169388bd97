"""Every row of docs/films.md that says what is kept, on a film that has it all; what is not kept is named."""

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from pictures.films.reading import DISPLAY, LEVELS, describe
from tests.commands import ROOT, call
from tests.pictures.films.making import make_film, patterns

av = pytest.importorskip("av", reason="films need PyAV")
FFMPEG = pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary").get_ffmpeg_exe()
CASES = Path(__file__).parents[1] / "cases"
ARGUMENTS = (
    "-itsoffset 0.5 -f lavfi -i testsrc=s=64x48:d=0.6 -itsoffset 0.3 -f lavfi -i sine=d=0.6 -i s.srt -i c.txt "
    "-f lavfi -i testsrc2=s=32x32:d=0.2 -map 0 -map 1 -map 2 -map 4 -map_metadata 3 -fps_mode vfr -c:v libx264 "
    "-filter:v:0 format=yuv420p,select='not(eq(n,5))',setsar=32/27,"
    "setparams=color_primaries=bt2020:color_trc=bt709:colorspace=bt2020nc:range=tv:chroma_location=topleft "
    "-c:a aac -metadata:s:2 language=ger -metadata:s:2 title=Worte -disposition:2 forced -disposition:1 comment "
    "-attach f.ttf -metadata:s:4 mimetype=font/ttf -attach c.png -metadata:s:5 mimetype=image/png in.mkv"
)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """The folder of a film with two streams of pictures, sound, subtitles, a font, a cover and a chapter, and what is
    made of it."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nwords\n")
    (folder / "f.ttf").write_bytes(b"\0\1\0\0" + bytes(60))
    (folder / "c.txt").write_text(";FFMETADATA1\ntitle=name\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=one\n")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "c.png")
    subprocess.run([FFMPEG, "-v", "error", *ARGUMENTS.split()], check=True, cwd=folder)
    call(demo, "--input", folder / "in.mkv", "--output", folder / "o.mkv", "--model", "nearest", "--scale", "2x3")
    return folder


@pytest.mark.parametrize("ending", ["mkv", "mp4", "webm"])
def test_every_stream_is_kept_or_named(films, ending, capsys) -> None:
    made = films / f"all.{ending}"
    call(demo, "--input", films / "in.mkv", "--output", made, "--model", "nearest", "--scale", "1")
    said = [line for line in capsys.readouterr().out.splitlines() if ": without " in line]
    with av.open(str(made)) as film:
        kept = [stream for stream in film.streams if stream.type != "data"]  # in MP4, chapters are
        assert len(kept) + len(said) == 6, said
        assert film.metadata.get("title", film.metadata.get("TITLE")) == "name"
        assert len(film.chapters()) == 1


def packets(path: Path) -> dict[int, list]:
    found: dict[int, list] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                found.setdefault(packet.stream_index, []).append((float(packet.pts * packet.time_base), bytes(packet)))
    return found


def both(folder: Path, of) -> tuple:
    """Something of each stream of the input and of the output."""
    found = []
    for name in ("in.mkv", "o.mkv"):
        with av.open(str(folder / name)) as container:
            found.append([of(stream) for stream in container.streams])
    return tuple(found)


def frames_and_times(folder):
    given, made = (sorted(time for time, _ in packets(folder / name)[0]) for name in ("in.mkv", "o.mkv"))
    assert len(given) == 14
    assert np.subtract(made, given) == pytest.approx([made[0] - given[0]] * 14, abs=1.1e-3)


def clocks(folder):
    made = packets(folder / "o.mkv")
    given = packets(folder / "in.mkv")
    first = [min(min(time for time, _ in rows) for rows in found.values()) for found in (given, made)]
    assert first[1] == pytest.approx(0, abs=1.1e-3)
    assert made[0][0][0] - made[1][0][0] == pytest.approx(given[0][0][0] - given[1][0][0], abs=2e-3)


def pixel_shape(folder):
    shapes = both(folder, lambda stream: getattr(stream, "sample_aspect_ratio", None))
    assert (shapes[0][0], shapes[1][0]) == (Fraction(32, 27), Fraction(64, 81))


def colour(folder):
    given, made = (describe(folder / name).colours for name in ("in.mkv", "o.mkv"))
    assert given == made
    assert (given.matrix, given.span, given.primaries, given.transfer) == (9, 1, 9, 1)


def chroma(folder):
    assert describe(folder / "o.mkv").colours.chroma == "topleft"


def rotation(folder):
    make_film(folder / "turned.mp4", patterns(2), rotation=90, sound=False)
    call(demo, "--input", folder / "turned.mp4", "--output", folder / "u.mp4", "--model", "nearest", "--scale", "1")
    with av.open(str(folder / "turned.mp4")) as given, av.open(str(folder / "u.mp4")) as made:
        before, after = next(given.decode(video=0)), next(made.decode(video=0))
        assert (before.width, before.height, after.rotation) == (after.height, after.width, 0)


def transparency(folder):
    call(demo, "--input", CASES / "alpha.webm", "--output", folder / "a.mkv", "--codec", "ffv1", "--model", "nearest",
         "--scale", "2")  # fmt: skip
    with av.open(str(folder / "a.mkv")) as film:
        assert np.unique(next(film.decode(video=0)).to_ndarray(format="rgba")[..., 3]).tolist() == [129]


def sound(folder, index=1):
    given, made = ([data for _, data in packets(folder / name)[index]] for name in ("in.mkv", "o.mkv"))
    assert given == made


def subtitles(folder):
    sound(folder, 2)
    tags = both(folder, lambda stream: (stream.metadata.get("language"), stream.metadata.get("title")))
    assert tags[0][2] == tags[1][2] == ("ger", "Worte")


def dispositions(folder):
    given, made = both(folder, lambda stream: int(stream.disposition))
    assert given[:3] == made[:3]
    assert given[2] == 64


def chapters_and_tags(folder):
    for name in ("in.mkv", "o.mkv"):
        with av.open(str(folder / name)) as film:
            (chapter,) = film.chapters()
            assert (chapter["metadata"]["title"], film.metadata["title"]) == ("one", "name")


def attachments_and_covers(folder):
    given, made = both(folder, lambda stream: (stream.type, *map(stream.metadata.get, ("mimetype", "filename"))))
    assert sorted(map(str, given)) == sorted(map(str, made))
    assert len(made) == 6


TABLE = (ROOT / "docs/films.md").read_text().partition("What is kept")[2]
ROWS = re.findall(r"^\| ([a-z ]+) \|", TABLE, re.MULTILINE)[1:]


@pytest.mark.parametrize("row", ROWS)
def test_row(films, row) -> None:
    assert len(ROWS) == 12
    globals()[row.replace(" ", "_")](films)


HDR10 = (
    "-f lavfi -i testsrc=s=64x48:d=0.08 -c:v libx265 -pix_fmt yuv420p10le -color_trc smpte2084 -x265-params "
    "log-level=error:transfer=smpte2084:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,50):max-cll=1000,400 hdr.mkv"
)


@pytest.mark.usefixtures("empty_folder")
def test_hdr10_is_kept_by_the_encoders_that_write_it_and_named_by_others(capsys) -> None:
    subprocess.run([FFMPEG, "-v", "error", *HDR10.split()], check=True)
    given = describe(Path("hdr.mkv")).light
    assert given[LEVELS] == (1000, 400)
    assert given[DISPLAY] == (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.005, 1000)
    for codec, tolerance in (("h265", 1e-9), ("av1", 2e-3), ("h264", None)):
        call(demo, "--input", "hdr.mkv", "--output", f"{codec}.mkv", "--codec", codec, "--model", "nearest",
             "--scale", "2")  # fmt: skip
        made, said = describe(Path(f"{codec}.mkv")).light, capsys.readouterr().out
        for name, words in ((DISPLAY, "without mastering display metadata"), (LEVELS, "without content light level")):
            assert (name in made) == (tolerance is not None) == (words not in said)
            assert name not in made or made[name] == pytest.approx(given[name], rel=tolerance)
    assert "hdr.mkv: depth reduced to 8 bits" in said  # 10 of them, not 16
