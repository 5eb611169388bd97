"""Whatever is sent, the answer is a picture or a mistake in one line, and nothing is kept of it."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.web.conftest import blobs, opened, png_of
from utils.files import PROJECT
from web.uploads import safe_name

GOOD = png_of(blobs(40, 52))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG whose header says one thing and whose data another."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + end


def saved(form: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(blobs(40, 52)).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def tiff_to_itself() -> bytes:
    """Whose directory names itself as the next one, and claims 60000 pixels a side."""
    entries = [(256, 4, 1, 60000), (257, 4, 1, 60000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 4, 1, 60000), (279, 4, 1, 100)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", 8)


BAD = {
    "nothing": (b"", 422),
    "one byte": (b"\x89", 415),
    "a text": (b"hello, this is no picture", 415),
    "HTML": (b"<!doctype html><script>alert(1)</script>", 415),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
    "PHP": (b"<?php system($_GET['c']); ?>", 415),
    "PDF": (b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>", 415),
    "a program": (b"\x7fELF" + bytes(200), 415),
    "ZIP": (b"PK\x03\x04" + bytes(100), 415),
    "gzip": (zlib.compress(bytes(10000), wbits=31), 415),
    "a checkpoint": (b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01.", 415),
    "EPS that Ghostscript would run": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "an icon": (saved("ICO"), 415),
    "PCX": (saved("PCX"), 415),
    "Targa": (saved("TGA"), 415),
    "zeros": (bytes(5000), 415),
    "noise": (np.random.default_rng(1).bytes(5000), 415),
    "a PNG's first bytes only": (GOOD[:8], 415),
    "a PNG cut in its header": (GOOD[:20], 415),
    "a PNG cut in its data": (GOOD[: len(GOOD) // 2], 422),
    "a PNG with a flipped bit": (GOOD[:600] + bytes([GOOD[600] ^ 1]) + GOOD[601:], 422),
    "a PNG without data": (png(40, 40), 422),
    "a PNG of 60000x60000": (png(60000, 60000), 413),
    "a PNG of 2^31-1 pixels a side": (png(2**31 - 1, 2**31 - 1), 413),
    "a PNG of no width": (png(0, 10), (415, 422)),
    "a PNG of 20000x3": (png(20000, 3, bytes(3 * 60001)), 413),
    "a PNG of one pixel": (png_of(np.zeros((1, 1, 3), np.uint8)), 422),
    "a PNG that unpacks to a gigabyte of text": (
        png(40, 40, bytes(40 * 121), more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28)))),
        (415, 422),
    ),
    "a PNG of 17 bits": (png(40, 40, depth=17), (415, 422)),
    "a JPEG cut short": (saved("JPEG")[:300], (415, 422)),
    "a GIF cut short": (saved("GIF")[:30], (415, 422)),
    "a WebP cut short": (saved("WEBP")[:60], (415, 422)),
    "a TIFF that points to itself": (tiff_to_itself(), (413, 415, 422)),
    "a TIFF's header only": (b"II*\0\xff\xff\xff\xff", 415),
    "a BMP with a false size": (saved("BMP")[:18] + struct.pack("<ii", 30000, 30000) + saved("BMP")[26:], 413),
    "a JPEG 2000 cut short": (saved("JPEG2000")[:60], (415, 422)),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_one_line(client, kind) -> None:
    content, statuses = BAD[kind]
    used = client.app.state.studio.budget.used
    answer = client.post("/api/pictures?name=../../x.png", content=content)
    assert answer.status_code in (statuses if isinstance(statuses, tuple) else (statuses,)), answer.text
    said = answer.json()["error"]
    assert "x.png" in said
    assert "\n" not in said
    assert not any(word in said for word in ("Traceback", "..", "/work", "site-packages"))
    assert client.app.state.studio.budget.used == used


def test_the_table_of_the_documentation_has_every_kind_and_its_answer() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d{3}) \| [^|]+ \|$", (PROJECT / "docs/web.md").read_text(), re.MULTILINE)
    assert [kind for kind, _ in rows] == list(BAD)
    assert len(rows) >= 30
    for kind, status in rows:
        allowed = BAD[kind][1]
        assert int(status) in (allowed if isinstance(allowed, tuple) else (allowed,)), kind


POLYGLOTS = {
    "PNG and HTML": GOOD + b"<script>alert(1)</script>",
    "PNG and ZIP": GOOD + b"PK\x05\x06" + bytes(18),
    "GIF and JavaScript": saved("GIF") + b"*/=1;alert(1)",
    "JPEG and PHP": saved("JPEG", comment=b"<?php system('id'); ?>"),
    "two frames": saved("GIF", append_images=[Image.new("RGB", (52, 40))], save_all=True),
}


@pytest.mark.parametrize("kind", POLYGLOTS)
def test_of_a_file_that_is_two_only_the_pixels_come_back(client, kind) -> None:
    name = opened(client, POLYGLOTS[kind])
    answer = client.get(f"/api/pictures/{name}/input.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not any(word in answer.content for word in (b"alert", b"PK\x05\x06", b"<?php"))
    assert Image.open(io.BytesIO(answer.content)).size == (52, 40)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"])
def test_formats_that_are_taken(client, form) -> None:
    opened(client, saved(form))


def test_cmyk_is_shown_in_rgb_and_says_so(client) -> None:
    answer = client.post("/api/pictures", content=saved("TIFF", "CMYK")).json()
    assert answer["channels"] == "RGB"
    assert "CMYK converted to RGB" in answer["notes"]


@pytest.mark.parametrize("length", ["honest", "none"])
def test_a_large_file_is_not_read_to_its_end(client, length) -> None:
    sent = []

    def endless():
        for _ in range(200):
            sent.append(1)
            yield bytes(1 << 20)

    headers = {"content-length": str(200 << 20)} if length == "honest" else {}
    answer = client.post("/api/pictures", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert "64 MiB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a b.PNG", "a b.PNG"),
        ("a\0b\n.png", "a_b_.png"),
        ("...", "picture"),
        ("<b>.png", "_b_.png"),
        ("--input.png", "input.png"),
        ("x" * 300 + ".tiff", "x" * 72 + ".tiff"),
    ],
)
def test_names_are_made_safe(given, kept) -> None:
    assert safe_name(given) == kept


def test_a_shrunk_picture_keeps_the_whole_as_its_reference(client) -> None:
    content = png_of(blobs(133, 170))
    answer = client.post("/api/pictures?shrink=4&name=a.jpg", content=content).json()
    assert (answer["name"], answer["width"], answer["height"]) == ("a_x1-4.png", 42, 33)
    assert answer["reference"] is True
    assert client.post("/api/pictures?shrink=5", content=content).status_code == 422


def test_a_reference_has_the_same_proportions(client) -> None:
    name = opened(client, GOOD)
    path = f"/api/pictures/{name}/reference"
    assert client.put(path, content=png_of(blobs(40, 90))).status_code == 422
    assert client.get(f"/api/pictures/{name}/scores?model=bicubic").status_code == 404
    assert client.put(path, content=png_of(blobs(80, 104))).json()["reference"] is True
    assert client.get(f"/api/pictures/{name}/scores?model=bicubic").json()["pixels"] == [104, 80]


def test_an_unknown_model_is_not_said_to_be_anothers(client) -> None:
    picture = client.post("/api/pictures?name=x.png", content=saved("PNG")).json()["picture"]
    answer = client.post(f"/api/pictures/{picture}/encode?model=nope")
    assert answer.status_code == 404
    assert answer.json()["error"] == "no model 'nope'; choose one of the list"
