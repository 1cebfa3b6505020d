"""Make the two small fonts of contact sheets: python scripts/make_fonts.py OpenSans-Regular.ttf DroidSansFallback.ttf  (needs fonttools).

The sources are in Debian's packages fonts-open-sans and fonts-droid-fallback, both Apache-2.0.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tonggan" / "modalities" / "fonts"


ROWS = {"gb2312": range(0xB0, 0xF8), "euc_jp": range(0xB0, 0xF5), "big5": range(0xA4, 0xC7), "euc_kr": range(0xB0, 0xC9)}
"""Encoding -> first bytes of its characters: all Han of GB 2312 and JIS X 0208, the frequent ones of Big5, the syllables of KS X 1001."""


def east_asian() -> str:
    """Return the characters that captions in Chinese (of both kinds), Japanese and Korean are written with."""
    found = {bytes((high, low)).decode(name, "ignore") for name, rows in ROWS.items() for high in rows for low in range(0x40, 0xFF)}
    return "".join(sorted(character for character in "".join(found) if character > "\u2e80"))


def subset(source: str, target: Path, *, text: str, ranges: str) -> None:
    """Write the glyphs of some characters, without hinting."""
    options = ["--no-hinting", "--desubroutinize", "--layout-features=", "--drop-tables+=DSIG", f"--unicodes={ranges}", f"--text={text}"]
    subprocess.run([sys.executable, "-m", "fontTools.subset", source, f"--output-file={target}", *options], check=True)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    subset(sys.argv[1], FOLDER / "latin.ttf", text="", ranges="20-7E,A0-17F,370-3FF,400-45F,490-491,2010-2027,2030-203A,20AC,2122,2192")
    subset(sys.argv[2], FOLDER / "east-asian.ttf", text=east_asian(), ranges="3000-30FF,FF01-FF65")
