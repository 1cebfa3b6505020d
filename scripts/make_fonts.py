"""Make the two small fonts of contact sheets: python scripts/make_fonts.py OpenSans-Regular.ttf DroidSansFallbackFull.ttf  (needs fonttools).

The sources are in Debian's packages fonts-open-sans and fonts-droid-fallback, both Apache-2.0.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tonggan" / "modalities" / "fonts"


def gb2312() -> str:
    """Return the 6,763 Han characters of GB 2312."""
    pairs = (bytes((high, low)) for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF))
    return "".join(pair.decode("gb2312", "ignore") for pair in pairs)


def subset(source: str, target: Path, *, text: str, ranges: str) -> None:
    """Write the glyphs of some characters, without hinting."""
    options = ["--no-hinting", "--desubroutinize", "--layout-features=", "--drop-tables+=DSIG", f"--unicodes={ranges}", f"--text={text}"]
    subprocess.run([sys.executable, "-m", "fontTools.subset", source, f"--output-file={target}", *options], check=True)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    subset(sys.argv[1], FOLDER / "latin.ttf", text="", ranges="20-7E,A0-17F,2010-2027,2030-203A,20AC,2122,2192")
    subset(sys.argv[2], FOLDER / "east-asian.ttf", text=gb2312(), ranges="3000-30FF,FF01-FF65")
