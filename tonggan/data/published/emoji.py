"""The drawings that the shipped weights learned from, built anew from the packages that publish them: emoji in six styles, named in six languages.

Vector drawings become pictures of 128 pixels on white (resvg) and are brought to 64 (Lanczos). Names, tags, groups: emojibase, from Unicode CLDR. Which
drawings are in which split is fixed in `emoji_splits.tsv` beside this file: it was drawn by hash, once.
"""

import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tonggan.data.published.packages import Archive, Package, archives
from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.progress import Show

SIZE, RENDERED = 64, 128
LANGUAGES = ("en", "zh", "es", "fr", "de", "ja")
NAMES = Package("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a")
SPLITS = {"t": "train", "p": "test_pair", "c": "test_concept"}
PRESENTATION = "fe0f"
"""The code point that asks for a picture in place of a character; some sets leave it out of their names."""


@dataclass(frozen=True)
class Style:
    """A set of drawings: the package that has it, and its licence; `named_by` is the style whose table of code points names its drawings, too."""

    package: Package
    licence: str
    named_by: str | None = None


STYLES: Mapping[str, Style] = {
    "emojione": Style(Package("@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"), "CC-BY-4.0"),
    "firefox": Style(Package("@iconify-json/fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"), "Apache-2.0"),
    "fluent": Style(
        Package("@iconify-json/fluent-emoji", "1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"), "MIT", "fluent flat"
    ),
    "fluent flat": Style(
        Package("@iconify-json/fluent-emoji-flat", "1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"), "MIT"
    ),
    "noto": Style(Package("@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"), "Apache-2.0"),
    "twemoji": Style(Package("@twemoji/svg", "15.0.0", "1d2907557a422c7c4e3feca50ef915c39da1db3d76b4a4d7e73fb59bce4403c3"), "CC-BY-4.0"),
}

SOURCE = """Emoji in six styles, rendered from their vector drawings to 64 x 64 on white by `tonggan data fetch emoji`.
{packages}
Labels and tags: {names} (MIT), from Unicode CLDR (Unicode licence).
Splits: test_pair has drawings whose emoji is in train in other styles; test_concept has emoji of which train has no drawing at all.
"""


class Drawings:
    """The vector drawings of one style, by what they show."""

    def __init__(self, archive: Archive, chars: Mapping[str, str]) -> None:
        self._archive = archive
        self._set = json.loads(archive.read("icons.json")) if "icons.json" in archive else None
        self._by_code = {_plain(code): name for code, name in chars.items()} | dict(chars)

    def find(self, hexcode: str, label: str) -> str | None:
        """Return a drawing as SVG: by its code points, else by its English name; None where the set has none."""
        codes = (hexcode.lower(), _plain(hexcode.lower()))
        if self._set is None:
            name = next((name for code in codes if (name := f"{code}.svg") in self._archive), None)
            return None if name is None else self._archive.read(name)
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower().replace("’", "")).strip("-")
        named = (*(self._by_code[code] for code in codes if code in self._by_code), slug, slug.replace("-", ""))
        return next((drawn for name in named if (drawn := self._drawn(name)) is not None), None)

    def _drawn(self, name: str) -> str | None:
        """Return an icon of an Iconify set as a whole SVG; aliases are other names of a drawing."""
        assert self._set is not None
        name = self._set.get("aliases", {}).get(name, {}).get("parent", name)
        icon = self._set["icons"].get(name)
        if icon is None:
            return None
        left, top, width, height = (
            icon.get(key, self._set.get(key, usual)) for key, usual in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
        )
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        return f'<svg {spaces} viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'


def make_emoji(out: Path, *, packages: Path | None = None, progress: Show | None = None) -> int:
    """Write images/, metadata.jsonl and SOURCE.txt into the new folder `out`; returns how many drawings there are.

    A row has `file_name`, `text`, `emoji`, `style`, `label` and `tags` by language, `group`, `subgroup`, `tone` (of skin, 1 to 5), `hexcode`, `base` (the
    code point without skin tone), `split`, `licence`. `packages` is a folder that has the packages, or keeps those that are fetched. Raises `UserError`
    where `out` exists, without the extra 'drawings', and as `archives` does.
    """
    render = Renderer()
    if out.exists():
        raise UserError(f"{out} exists already. Choose another folder, or remove it.")
    with tempfile.TemporaryDirectory() as temporary, replacing(out) as beside:
        wanted = [NAMES, *(style.package for style in STYLES.values())]
        found = archives(wanted, packages or Path(temporary), progress=progress)
        rows = [row for style in STYLES for row in _rows(style, found[NAMES.name])]
        (beside / "images").mkdir(parents=True)
        sets = {name: _drawings(name, found) for name in STYLES}
        with open(beside / "metadata.jsonl", "w", encoding="utf-8") as table:
            for number, row in enumerate(rows):
                drawn = sets[row["style"]].find(row["hexcode"], row["label"]["en"])
                if drawn is None:
                    raise UserError(f"{STYLES[row['style']].package.name} has no drawing of {row['label']['en']} ({row['hexcode']}).")
                render(drawn).save(beside / row["file_name"])
                table.write(json.dumps(row, ensure_ascii=False) + "\n")
                if progress is not None:
                    progress("drawing", number + 1, len(rows))
        told = "\n".join(f"{name}: {style.package.name} {style.package.version} ({style.licence})" for name, style in STYLES.items())
        (beside / "SOURCE.txt").write_text(SOURCE.format(packages=told, names=f"{NAMES.name} {NAMES.version}"), encoding="utf-8")
    return len(rows)


def splits() -> dict[str, dict[str, str]]:
    """Return style -> code points -> split, of all drawings in their order."""
    lines = (Path(__file__).parent / "emoji_splits.tsv").read_text(encoding="utf-8").splitlines()
    found: dict[str, dict[str, str]] = {style: {} for style in STYLES}
    for code, letters in (line.split("\t") for line in lines):
        for style, letter in zip(STYLES, letters, strict=True):
            if letter in SPLITS:
                found[style][code] = SPLITS[letter]
    return found


def _rows(style: str, names: Archive) -> Iterator[dict[str, Any]]:
    groups = json.loads(names.read("meta/groups.json"))
    known = {language: _by_code(json.loads(names.read(f"{language}/data.json"))) for language in LANGUAGES}
    for code, split in splits()[style].items():
        one, base = known["en"][code]
        label = {language: known[language][code][0]["label"] for language in LANGUAGES}
        yield {
            "file_name": f"images/{style.replace(' ', '-')}-{code.lower()}.png",
            "text": f"{label['en']}, {style} style",
            "emoji": one["emoji"],
            "style": style,
            "label": label,
            "tags": {language: known[language][code][1].get("tags", []) for language in ("en", "zh")},
            "group": groups["groups"].get(str(base.get("group")), "component"),
            "subgroup": groups["subgroups"].get(str(base.get("subgroup"))),
            "tone": one.get("tone"),
            "hexcode": code,
            "base": base["hexcode"],
            "split": split,
            "licence": STYLES[style].licence,
        }


def _by_code(entries: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return code points -> (the emoji, the one without skin tone)."""
    return {one["hexcode"]: (one, base) for base in entries for one in (base, *base.get("skins", []))}


def _drawings(style: str, found: Mapping[str, Archive]) -> Drawings:
    archive, namer = found[STYLES[style].package.name], found[STYLES[STYLES[style].named_by or style].package.name]
    return Drawings(archive, json.loads(namer.read("chars.json")) if "chars.json" in namer else {})


def _plain(code: str) -> str:
    return "-".join(part for part in code.split("-") if part != PRESENTATION)


class Renderer:
    """SVG -> picture of 64 x 64 on white."""

    def __init__(self) -> None:
        try:
            from resvg_py import svg_to_bytes
        except ImportError:
            raise UserError("drawings are rendered by resvg, which is not installed: pip install -e '.[drawings]'") from None
        self._render = svg_to_bytes

    def __call__(self, svg: str) -> Image.Image:
        """Render one drawing."""
        made = Image.open(io.BytesIO(bytes(self._render(svg_string=svg, width=RENDERED, background="white")))).convert("RGB")
        return made.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
