"""Films whose files are shorter than they say."""

import pytest

from pictures.films.lengths import is_cut_short


@pytest.mark.parametrize(
    ("content", "short"),
    [
        (b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x84abcd", False),
        (b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x85abcd", True),
        (b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x40\x05abcd", True),
        (b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x01" + b"\xff" * 7, False),  # written as it was made
        (b"\x1a\x45\xdf\xa3", False),
        (b"", False),
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\x09mdat" + b"a", False),
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\x0amdat" + b"a", True),
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\0mdat" + b"a", False),  # to the end
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\x01mdat" + bytes(7) + b"\x11" + b"a", False),
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\x01mdat" + bytes(7) + b"\x12" + b"a", True),
        (b"\0\0\0\x0cftyp" + bytes(4) + b"\0\0\0\x01mdat" + bytes(3), True),
        (b"RIFF\x04\0\0\0AVI RIFF\x04\0\0\0AVIX", False),
        (b"RIFF\x04\0\0\0AVI RIFF\x05\0\0\0AVIX", True),
        (b"RIFF\x04\0\0\0AVI index and so on", False),
    ],
)
def test_files_say_how_long_they_are(tmp_path, content, short) -> None:
    (tmp_path / "f.mkv").write_bytes(content)
    assert is_cut_short(tmp_path / "f.mkv") == short
