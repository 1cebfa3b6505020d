import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("resvg_py")

from tonggan.data.check import check
from tonggan.data.published import emoji, packages
from tonggan.data.published.emoji import make_emoji, splits
from tonggan.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "emoji"
SQUARE = '<rect x="4" y="4" width="24" height="24" fill="#{colour}"/>'


def entry(label: str, hexcode: str, **more: Any) -> dict[str, Any]:
    return {"label": label, "hexcode": hexcode, "emoji": "".join(chr(int(code, 16)) for code in hexcode.split("-")), **more}


def icons(**drawn: str) -> dict[str, Any]:
    return {"width": 32, "height": 32, "icons": {name: {"body": SQUARE.format(colour=colour)} for name, colour in drawn.items()}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archives as npm has them, of three emoji each, in a folder; the module knows their digests."""
    made = tmp_path / "packages"
    made.mkdir()

    def archive(package: packages.Package, files: dict[str, Any]) -> packages.Package:
        path = made / package.file_name
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return replace(package, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    tones = [entry("挥手: 较浅肤色", "1F44B-1F3FB", tone=1)]
    told = {
        "en": [entry("red heart", "2764-FE0F", tags=["love"], group=0, subgroup=0),
               entry("waving hand", "1F44B", tags=["hello"], group=1, subgroup=1, skins=[entry("waving hand: light skin tone", "1F44B-1F3FB", tone=1)])],
        "zh": [entry("红心", "2764-FE0F", tags=["爱"]), entry("挥手", "1F44B", tags=["你好"], skins=tones)],
    }  # fmt: skip
    files: dict[str, Any] = {f"{language}/data.json": told.get(language, told["en"]) for language in emoji.LANGUAGES}
    groups = {"groups": {"0": "smileys", "1": "people"}, "subgroups": {"0": "heart", "1": "hand"}}
    monkeypatch.setattr(emoji, "NAMES", archive(emoji.NAMES, files | {"meta/groups.json": groups}))
    flat = icons(heart="ff0000", hand="ffff00", pale="ffeecc")
    contents = {
        "fluent": {"icons.json": icons(heart="cc0000")},
        "fluent flat": {"icons.json": flat | {"aliases": {"wave": {"parent": "hand"}}},
                        "chars.json": {"2764": "heart", "1f44b": "wave", "1f44b-1f3fb": "pale"}},
        "firefox": {"icons.json": icons(wavinghand="0000ff")},
        "twemoji": {"2764.svg": f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{SQUARE.format(colour="00ff00")}</svg>'},
    }  # fmt: skip
    styles = {
        name: replace(style, package=archive(style.package, contents.get(name, {"icons.json": icons()}))) for name, style in emoji.STYLES.items()
    }
    monkeypatch.setattr(emoji, "STYLES", styles)
    drawn = {"fluent": ["2764-FE0F"], "fluent flat": ["1F44B", "1F44B-1F3FB", "2764-FE0F"], "firefox": ["1F44B"], "twemoji": ["2764-FE0F"]}
    monkeypatch.setattr(emoji, "splits", lambda: {style: dict.fromkeys(drawn.get(style, []), "train") for style in styles})
    return made


def test_drawings_are_built_from_their_packages(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "emoji"
    assert make_emoji(out, packages=folder) == 6
    rows = {row["file_name"]: row for row in map(json.loads, (out / "metadata.jsonl").read_text().splitlines())}
    colours = {name: tuple(np.asarray(Image.open(out / name))[32, 32]) for name in rows}
    assert colours == {
        "images/firefox-1f44b.png": (0, 0, 255),
        "images/fluent-2764-fe0f.png": (204, 0, 0),
        "images/fluent-flat-1f44b.png": (255, 255, 0),
        "images/fluent-flat-1f44b-1f3fb.png": (255, 238, 204),
        "images/fluent-flat-2764-fe0f.png": (255, 0, 0),
        "images/twemoji-2764-fe0f.png": (0, 255, 0),
    }
    toned = rows["images/fluent-flat-1f44b-1f3fb.png"]
    assert (toned["text"], toned["label"]["zh"], toned["tags"]) == (
        "waving hand: light skin tone, fluent flat style",
        "挥手: 较浅肤色",
        {"en": ["hello"], "zh": ["你好"]},
    )
    assert (toned["tone"], toned["base"], toned["group"], toned["subgroup"]) == (1, "1F44B", "people", "hand")
    assert not check(out).has_errors
    with pytest.raises(UserError, match="exists already"):
        make_emoji(out, packages=folder)


def test_the_splits_are_those_of_the_data_that_ships_weights() -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the emoji of the shared data")
    rows = [json.loads(line) for line in (SHARED / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    known = splits()
    assert [(row["style"], row["hexcode"], row["split"]) for row in rows] == [
        (style, code, split) for style, codes in known.items() for code, split in codes.items()
    ]


def test_packages_that_cannot_be_had_are_named_and_nothing_is_left(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, bin_ = tmp_path / "emoji", tmp_path / "bin"
    bin_.mkdir()
    monkeypatch.setenv("PATH", str(bin_))
    gone = folder / emoji.NAMES.file_name
    kept = gone.read_bytes()
    gone.unlink()
    with pytest.raises(UserError, match=r"Install Node.js, or put them into .*\n  emojibase-data-17.0.0.tgz"):
        make_emoji(out, packages=folder)
    npm = bin_ / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\necho 'npm error network is away' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match=r"could not fetch emojibase-data 17\.0\.0: npm error network is away"):
        make_emoji(out, packages=folder)
    source = tmp_path / "published.tgz"
    source.write_bytes(kept)
    npm.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\ncp "{source}" "$4/{gone.name}"\n')
    assert make_emoji(out, packages=folder) == 6
    gone.write_bytes(kept[:-9])
    with pytest.raises(UserError, match=r"is not what was published as emojibase-data 17\.0\.0, or it is cut off"):
        make_emoji(tmp_path / "again", packages=folder)
    assert not (tmp_path / "again").exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [emoji.NAMES.file_name, *(each.package.file_name for each in emoji.STYLES.values())]
    )
