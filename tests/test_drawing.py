import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tonggan.completion import Completion
from tonggan.drawing import Request, draw_file, draw_morph, draw_one
from tonggan.errors import UserError
from tonggan.modalities.provenance import inspect_picture_file, read_provenance
from tonggan.pipeline import Tonggan


class Painter:
    """What drawing asks of a model; it paints everything red, and recalls three rows named after each caption."""

    name, weights_hash = "painter", "0123456789"

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.completion: Completion | None = None

    def settings(self) -> dict[str, Any]:
        return {"references": 2, "strength": 0.6}

    def completed(self, caption: str) -> str:
        return caption if self.completion is None else self.completion.of(caption)

    def notices(self, caption: str) -> list[str]:
        return []

    def guessed(self, caption: str) -> list[str]:
        return ["it can only guess at a dog."] if "\N{DOG FACE}" in caption else []

    def recalled(self, caption: str) -> list[str]:
        return [f"{caption}-{number}.png" for number in range(3)]

    def generate(self, captions: Sequence[str], *, n: int, **_: object) -> list[Image.Image]:
        self.drawn += captions
        return [Image.new("RGB", (8, 8), "red") for _ in range(len(captions) * n)]

    def morph(self, *ends: object, frames: int, **_: object) -> list[Image.Image]:
        self.drawn += map(str, ends)
        return [Image.new("RGB", (8, 8), (10 * number, 0, 0)) for number in range(frames)]


def table(folder: Path, *names: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"heart {number}", "file_name": name}) for number, name in enumerate(names)))
    return path


def references(path: Path) -> list[str]:
    told = read_provenance(path)
    assert told is not None
    return list(told.references)


def test_a_picture_names_what_was_shown_and_what_its_caption_recalls(tmp_path: Path) -> None:
    shown = Request(shown=[("mine.png", Image.new("RGB", (8, 8)))])
    for request, wanted in (
        (Request(), ["fish-0.png", "fish-1.png"]),
        (shown, ["mine.png", "fish-0.png"]),
        (Request(settings={"references": 0}), []),
    ):
        draw_one(Painter(), "fish", tmp_path / "a.png", n=1, request=request, warn=print)
        assert references(tmp_path / "a.png") == wanted


def test_a_walk_names_what_its_two_captions_recall_and_nothing_for_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "end.png"
    Image.new("RGB", (8, 8)).save(picture)
    for ends, wanted in (
        (("fish", "bird"), ["fish-0.png", "fish-1.png", "bird-0.png", "bird-1.png"]),
        (("fish", "fish"), ["fish-0.png", "fish-1.png"]),
        ((str(picture), "bird"), ["bird-0.png", "bird-1.png"]),
        ((str(picture), str(picture)), []),
    ):
        walk = draw_morph(Painter(), *ends, tmp_path / "walk.gif", frames=3, request=Request(), warn=print)
        assert references(walk) == wanted
        told = read_provenance(walk)
        assert told is not None
        assert told.prompt == " -> ".join(Path(end).name for end in ends)  # of a file its name alone


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.png", "../b.png"], "row 2: file_name '../b.png' leads out of"),
        (["a.png", "b.bmp"], "row 2: pictures are not written as '.bmp'"),
        (["a.png", "b"], "row 2: pictures are not written as ''"),
        (["a.png", "b.png", "./a.png"], "row 3: file_name './a.png' is that of row 1, too"),
        (["a.png", None], "row 2: no file_name"),
        ([f"{number}.png" for number in range(40)] + ["0.png"], "row 41: file_name '0.png' is that of row 1, too"),
    ],
)
def test_nothing_is_drawn_where_a_row_cannot_become_a_picture(names: list[object], said: str, tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(UserError) as wrong:
        draw_file(painter, table(tmp_path, *names), tmp_path / "out", request=Request(), warn=print)
    assert said in str(wrong.value)
    assert painter.drawn == []
    assert not (tmp_path / "out").exists()


def test_every_row_becomes_the_picture_that_it_names(tmp_path: Path) -> None:
    names = [f"{number % 3}/{number}.png" for number in range(34)]
    assert draw_file(Painter(), table(tmp_path, *names), tmp_path / "out", request=Request(seed=5), warn=print, sheet=tmp_path / "all.png") == 34
    for number, name in enumerate(names):
        told = read_provenance(tmp_path / "out" / name)
        assert told is not None
        assert (told.prompt, told.seed, told.references[0]) == (f"heart {number}", 5 + number, f"heart {number}-0.png")
    assert (tmp_path / "all.png").is_file()


def test_an_ending_is_looked_at_before_anything_is_drawn(tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(UserError, match=r"pictures are not written as '\.gif'"):
        draw_one(painter, "fish", tmp_path / "a.gif", n=1, request=Request(), warn=print)
    with pytest.raises(UserError, match=r"animations are not written as '\.jpg'"):
        draw_morph(painter, "fish", "bird", tmp_path / "a.jpg", frames=3, request=Request(), warn=print)
    assert painter.drawn == []


def test_a_row_with_captions_in_several_languages_is_drawn_by_one(tmp_path: Path) -> None:
    rows = [{"text": {"zh": "黑猫", "en": "a black cat"}, "file_name": "a.png"}, {"text": ["a dog", "a pup"], "file_name": "b.png"}]
    rows.append({"text": "红心", "label": {"en": "red heart"}, "file_name": "c.png"})  # what another column says is not asked for
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    painter, said = Painter(), list[str]()
    draw_file(painter, tmp_path / "rows.jsonl", tmp_path / "out", request=Request(), warn=said.append, sheet=tmp_path / "sheet.png")
    assert inspect_picture_file(tmp_path / "sheet.png")["made_by_trained_algorithm"]
    assert painter.drawn == ["a black cat", "a dog", "红心"]
    with pytest.raises(UserError, match=r"a\.jpg: a sheet is a PNG"):
        draw_file(painter, tmp_path / "rows.jsonl", tmp_path / "out", request=Request(), warn=print, sheet=tmp_path / "a.jpg")


def test_captions_without_file_names_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a black cat\n\n红心\n", encoding="utf-8-sig")
    (tmp_path / "rows.csv").write_text("caption\na dog\n", encoding="utf-8")
    painter = Painter()
    for name, files in (("lines.txt", ["0001.png", "0002.png"]), ("rows.csv", ["0001.png"])):
        draw_file(painter, tmp_path / name, tmp_path / name[:4], request=Request(), warn=print)
        assert sorted(file.name for file in (tmp_path / name[:4]).glob("*.png")) == files
    assert painter.drawn == ["a black cat", "红心", "a dog"]
    (tmp_path / "latin.txt").write_bytes("ein gr\u00fcner Apfel".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.txt: not UTF-8 text"):
        draw_file(painter, tmp_path / "latin.txt", tmp_path / "out", request=Request(), warn=print)


def test_what_can_only_be_guessed_at_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    draw_one(Painter(), "\N{DOG FACE}", tmp_path / "a.png", n=1, request=Request(), warn=said.append)
    draw_morph(Painter(), "\N{DOG FACE}", "cat", tmp_path / "a.gif", frames=2, request=Request(), warn=said.append)
    assert said == ["it can only guess at a dog."] * 2
    with pytest.raises(UserError, match="is not UTF-8 text"):
        draw_one(Painter(), "a \ud83d", tmp_path / "b.png", n=1, request=Request(), warn=print)


def test_half_a_character_is_one_line_where_captions_are_completed(tmp_path: Path) -> None:
    model, half = Tonggan.from_pretrained("emoji-64-fast"), "a \ud83d"
    assert model.completion is not None  # it is the vocabulary that reads a caption first there
    for refused in (
        lambda: draw_one(model, half, tmp_path / "a.png", n=1, request=Request(), warn=print),
        lambda: draw_morph(model, "cat", half, tmp_path / "a.gif", frames=2, request=Request(), warn=print),
        lambda: model.generate(half, to="image"),
        lambda: model.recalled(half),
    ):
        with pytest.raises(UserError, match="is not UTF-8 text"):
            refused()
    (tmp_path / "rows.jsonl").write_text('{"text": "a cat"}\n{"text": "\\ud83d"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl, row 2: the caption .* is not UTF-8 text\. .* Nothing was drawn"):
        draw_file(model, tmp_path / "rows.jsonl", tmp_path / "out", request=Request(), warn=print)
    assert not (tmp_path / "out").exists()


def test_of_many_captions_a_few_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    lines = ["", *["a \N{DOG FACE}", ""] * 9, "a cat"]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    said = list[str]()
    draw_file(Painter(), tmp_path / "lines.txt", tmp_path / "out", request=Request(), warn=said.append)
    assert [line.split(": ")[0] for line in said[:-1]] == [f"{tmp_path / 'lines.txt'}, line {number}" for number in (2, 4, 6, 8, 10)]
    assert said[-1] == "9 of 10 captions are guessed at or cut; the first 5 are named above."
    (tmp_path / "lines.txt").write_text("a cat\n\n\N{DOG FACE}\n", encoding="utf-8")
    said.clear()
    draw_file(Painter(), tmp_path / "lines.txt", tmp_path / "out", request=Request(), warn=said.append)
    (only,) = said
    assert only.startswith(f"{tmp_path / 'lines.txt'}, line 3: it can only guess at a dog.")


def test_captions_are_drawn_in_the_language_that_is_asked_for(tmp_path: Path) -> None:
    rows = [{"text": {"zh": "黑猫", "en": "a black cat"}}, {"text": "a red heart", "label": {"zh": "红心"}}, {"text": "a dog"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    painter = Painter()
    draw_file(painter, tmp_path / "rows.jsonl", tmp_path / "out", request=Request(), warn=print, language="zh")
    assert painter.drawn == ["黑猫", "红心", "a dog"]  # the last row does not tell languages apart
    with pytest.raises(UserError, match=r"rows\.jsonl, row 1: no caption in 'fr' \(there is: zh, en\)"):
        draw_file(painter, tmp_path / "rows.jsonl", tmp_path / "out", request=Request(), warn=print, language="fr")


def test_what_has_no_effect_is_refused_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, painter = ("mine.png", Image.new("RGB", (8, 8))), Painter()
    with pytest.raises(UserError, match="pictures to look at: 1, and there is room for 0"):
        draw_one(painter, "fish", tmp_path / "a.png", n=1, request=Request(shown=[picture], settings={"references": 0}), warn=print)
    assert painter.drawn == []
    for strength, wanted in ((0.0, "as it is: nothing is drawn"), (1.0, "the caption alone is drawn"), (0.5, None)):
        said = list[str]()
        draw_one(painter, "fish", tmp_path / "a.png", n=1, request=Request(start=picture, settings={"strength": strength}), warn=said.append)
        assert [wanted in line for line in said] == ([True] if wanted else [])
    drawn = list(painter.drawn)
    monkeypatch.setattr(painter, "settings", lambda: {"references": 2})
    for settings in ({}, {"strength": 0.5}):
        with pytest.raises(UserError, match=r"painter draws in one pass and cannot start from a picture\. Leave out --from"):
            draw_one(painter, "fish", tmp_path / "a.png", n=1, request=Request(start=picture, settings=settings), warn=print)
    assert painter.drawn == drawn


def test_of_a_long_caption_the_beginning_and_the_end_are_said(tmp_path: Path) -> None:
    painter, said = Painter(), list[str]()
    painter.completion = Completion(unless=("noto",), spaced="{caption}, noto style", unspaced="{caption}，noto 风格")
    draw_one(painter, "a fish " * 5000, tmp_path / "a.png", n=1, request=Request(), warn=said.append)
    assert said[0].startswith("drawn as 'a fish a fish")
    assert "a fish , noto style'. Styles are noto; --as-written" in said[0]
    assert len(said[0]) < 400


def test_a_file_of_captions_of_another_kind_is_told_which_kinds_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("a fish")
    with pytest.raises(UserError, match=r"a\.doc: not a kind of table that is known\. Known: \.jsonl, \.csv, .*\.txt"):
        draw_file(Painter(), tmp_path / "a.doc", tmp_path / "out", request=Request(), warn=print)
    (tmp_path / "A.CSV").write_text("text\na fish\n")
    assert draw_file(Painter(), tmp_path / "A.CSV", tmp_path / "out", request=Request(), warn=print) == 1
