"""Alternative texts for web pages: `img` elements without `alt` get one; every other byte of the page stays as it is.

An empty `alt=""` says that a picture is decoration (HTML standard, 4.8.4.4) and is left alone.
"""

import base64
import binascii
import codecs
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from PIL import Image

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities.image import open_picture
from tonggan.modalities.text import Caption

UNSURE = -1.0
"""Mean log-probability of the words below which a sentence is listed as unsure."""
PAGES = (".html", ".htm", ".xhtml")
CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Byte order mark -> an encoding that takes the mark for a character, so that it is kept."""
DECORATION = {"presentation", "none"}

Describer = Callable[[Sequence[Image.Image]], Sequence[Caption]]
"""Pictures -> a sentence each."""


@dataclass(frozen=True)
class Missing:
    """An `img` without `alt`: where its tag starts (in characters), on which line, and what it shows."""

    start: int
    line: int
    source: str
    said: Caption | None = None
    problem: str = ""

    @property
    def unsure(self) -> bool:
        """Whether the sentence should be read before it is trusted."""
        return self.said is not None and (self.said.score or 0.0) < UNSURE


class _Finder(HTMLParser):
    """Finds `img` elements without `alt`; comments, scripts and the like are passed over."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Missing] = []
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag != "img" or "alt" in given or given.get("role") in DECORATION or given.get("aria-hidden") == "true":
            return
        line, column = self.getpos()
        self.found.append(Missing(self.lines[line - 1] + column, line, (given.get("src") or "").strip()))


def read_page(path: Path) -> tuple[str, str]:
    """Return (text, encoding) of a page; the encoding comes from the byte order mark or the page's `meta`, else it is UTF-8.

    Line ends are kept, and the byte order mark stays the first character, so that the text in this encoding is the page again, byte for byte. Raises
    `UserError` where the page cannot be read or is not in the encoding that it names.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: no such file." if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror or error}.") from error
    named = CHARSET.search(content[:2048])
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), named[1].decode("ascii") if named else "utf-8")
    try:
        return content.decode(encoding), encoding
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"{path}: not text in {encoding} ({error}). Name its encoding in <meta charset>, or save it as UTF-8.") from error


def open_source(source: str, page: Path, root: Path) -> Image.Image:
    """Open what an `img` shows: a file beside the page (a path from `/` starts at `root`) or a data URI; raises `UserError` for anything else."""
    if source.startswith("data:"):
        head, _, body = source.partition(",")
        try:
            data = base64.b64decode(body, validate=False) if head.endswith(";base64") else unquote_to_bytes(body)
        except binascii.Error as error:
            raise UserError("a data URI that is broken.") from error
        return open_picture(data, name="data URI")
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise UserError(f"{source}: no address that can be read ({error}).") from error
    if parts.scheme in ("http", "https") or parts.netloc:
        raise UserError(f"{source}: on the network; nothing is fetched. Describe a copy on the disk.")
    if not parts.path:
        raise UserError("no src.")
    name = unquote(parts.path)
    return open_picture(root / name.lstrip("/") if name.startswith("/") else page.parent / name)


def look_through(page: Path, describer: Describer, *, root: Path) -> list[Missing]:
    """Return the `img` elements of a page that lack `alt`, each with a sentence or with the reason why there is none."""
    text, _ = read_page(page)
    found = _Finder(text).found
    pictures: dict[int, Image.Image] = {}
    problems: dict[int, str] = {}
    for number, missing in enumerate(found):
        try:
            pictures[number] = open_source(missing.source, page, root)
        except UserError as error:
            problems[number] = str(error)
    said = dict(zip(pictures, describer(list(pictures.values())), strict=True)) if pictures else {}
    return [replace(missing, said=said.get(number), problem=problems.get(number, "")) for number, missing in enumerate(found)]


def write_alternatives(page: Path, found: Sequence[Missing]) -> Path:
    """Write the sentences into the page and return its backup; the page is replaced as a whole or not at all, and both may be read by whom it could.

    Of a link what it leads to is the page. The backup is `<page>.bak`, or the first `.bak1`, `.bak2`, ... that is free.
    Raises `UserError` where the page is another than was looked through.
    """
    page = page.resolve()
    text, encoding = read_page(page)
    for missing in sorted((each for each in found if each.said), key=lambda each: -each.start):
        place = missing.start + len("<img")
        if text[missing.start : place].lower() != "<img":
            raise UserError(f"{page} changed while its pictures were described: nothing was written. Run the command again.")
        text = f'{text[:place]} alt="{escape(str(missing.said))}"{text[place:]}'
    backup = next(each for number in range(10_000) if not (each := page.with_name(f"{page.name}.bak{number or ''}")).exists())
    mode = stat.S_IMODE(page.stat().st_mode)
    with replacing(backup) as beside:
        shutil.copy2(page, beside)
    backup.chmod(mode)
    with replacing(page) as beside:
        beside.write_bytes(text.encode(encoding, "xmlcharrefreplace"))
    page.chmod(mode)
    return backup


def pages_in(path: Path) -> list[Path]:
    """Return a page, or the pages of a folder; raises `UserError` where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder.")
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in PAGES and each.is_file())
    if not found:
        raise UserError(f"{path}: the folder holds no page. Looked for: {', '.join(PAGES)}.")
    return found
