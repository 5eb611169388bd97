"""Words on sheets of pictures."""

from PIL import ImageFont


def fitting(text: str, font: ImageFont.ImageFont, width: float) -> str:
    """The beginning of a text that fits into so many pixels."""
    while font.getlength(text) > width:
        text = text[:-1]
    return text
