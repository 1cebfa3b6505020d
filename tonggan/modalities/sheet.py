"""Contact sheets: pictures with their captions under them, in any of the languages that captions come in."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tonggan.errors import UserError

LATIN, EAST_ASIAN = "latin.ttf", "east-asian.ttf"
MARGIN, GAP, LINE = 24, 20, 22
FONT_SIZE = 16
INK, PAPER = (40, 40, 46), (255, 255, 255)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(str(resources.files("tonggan") / "modalities" / "fonts")) / name), FONT_SIZE)


def is_east_asian(character: str) -> bool:
    """Return whether a character is set in the East Asian font: kana, Han, Hangul, their punctuation and full-width forms."""
    return "\u2e80" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" or "\uff00" <= character <= "\uffef"


def runs(text: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Part a line into stretches of one font each."""
    found: list[tuple[str, ImageFont.FreeTypeFont]] = []
    for character in text:
        font = _font(EAST_ASIAN if is_east_asian(character) else LATIN)
        if found and found[-1][1] is font:
            found[-1] = (found[-1][0] + character, font)
        else:
            found.append((character, font))
    return found


def text_width(text: str) -> float:
    """Return the width of a line in pixels."""
    return sum(font.getlength(run) for run, font in runs(text))


def wrap(text: str, width: int) -> list[str]:
    """Break a caption into lines of at most `width` pixels: between words, and between East Asian characters."""
    pieces: list[str] = []
    for word in text.split(" "):
        start = 0
        for index, character in enumerate(word):
            if is_east_asian(character):
                pieces += [word[start:index]] * (index > start) + [character]
                start = index + 1
        pieces += [word[start:] + " "] if start < len(word) else [" "]
    lines = [""]
    for piece in pieces:
        if text_width((lines[-1] + piece).rstrip()) > width and lines[-1]:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def check_sheet(path: Path | None) -> None:
    """Raise `UserError` for a file of a sheet that is no PNG by its ending."""
    if path is not None and path.suffix.lower() != ".png":
        raise UserError(f"{path}: a sheet is a PNG.")


def contact_sheet(pictures: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 5, cell: int = 192) -> Image.Image:
    """Return one picture of all pictures, each `cell` pixels wide with its caption under it."""
    wrapped = [wrap(caption, cell) for caption in captions]
    rows = [range(start, min(start + columns, len(pictures))) for start in range(0, len(pictures), columns)]
    heights = [cell + 10 + LINE * max(len(wrapped[i]) for i in row) + GAP for row in rows]
    across = min(columns, len(pictures))
    sheet = Image.new("RGB", (2 * MARGIN + across * cell + (across - 1) * GAP, 2 * MARGIN - GAP + sum(heights)), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = MARGIN + column * (cell + GAP)
            sheet.paste(pictures[index].resize((cell, cell), Image.Resampling.BICUBIC), (left, top))
            for number, line in enumerate(wrapped[index]):
                _write(pen, line, left + (cell - text_width(line)) / 2, top + cell + 10 + LINE * number)
        top += height
    return sheet


def _write(pen: ImageDraw.ImageDraw, line: str, left: float, top: float) -> None:
    for run, font in runs(line):
        pen.text((left, top + FONT_SIZE), run, fill=INK, font=font, anchor="ls")
        left += font.getlength(run)
