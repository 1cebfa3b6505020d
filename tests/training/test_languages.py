"""Captions in languages that a model is not to learn, or that the one it begins from never learned, are told before anything is trained."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from tonggan.errors import UserError
from tonggan.pipeline import Tonggan
from tonggan.training.preflight import dry_run
from tonggan.training.recipe import Recipe, load_recipe
from tonggan.training.run import Run

QUIET = Console(quiet=True)
WRITER = "{kind: text_autoregressive, width: 64, layers: 1, heads: 2, vocabulary: 320, languages: [LANGUAGES]}"


@pytest.fixture
def mixed(shapes: Path, tmp_path: Path) -> Path:
    """A folder of drawings in English, but for two captions."""
    folder = tmp_path / "mixed"
    shutil.copytree(shapes, folder)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = {"green-bar.png": "一个绿色的包", "green-frame.png": "a 包 bun", "blue-bar.png": "파란 막대"}
    for row in rows:
        row |= {"text": texts.get(row["file_name"], row["text"]), "label": "", "split": "train"}
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder


def writer(data: Path, languages: str, *overrides: str) -> Recipe:
    small = ["data.phrasings=null", "data.hold_out=0.2", "dtype=float32", "monitor.tensorboard=false", "schedule.samples=16"]
    parts = [
        "model.encoders.text={kind: text_transformer, width: 64, layers: 1, heads: 2, vocabulary: 320}",
        "model.encoders.image={kind: image_transformer, width: 64, layers: 1, heads: 2, stem_channels: [16, 32]}",
        f"model.decoders={{text: {WRITER.replace('LANGUAGES', languages)}}}",
        "objectives={arrows: {image->text: 1.0}, align: 0.1}",
    ]
    return load_recipe("emoji-64", smoke=True, overrides=[f"data.path={data}", *small, *parts, *overrides])


def test_captions_that_the_decoder_is_not_to_write_are_told_before_training(mixed: Path, tmp_path: Path) -> None:
    said = (
        r"mixed has 1 caption in '(zh|ko)' \(first: (green|blue)-bar\.png\), 1 caption in '(zh|ko)' \(first: (green|blue)-bar\.png\), "
        r"and the text decoder writes en alone\. .*model\.decoders\.text\.languages=\[en,(zh,ko|ko,zh)\]$"
    )
    with pytest.raises(UserError, match=said):
        dry_run(writer(mixed, "en"), cache=tmp_path, console=QUIET)
    with pytest.raises(UserError, match=said):
        Run(writer(mixed, "en"), tmp_path / "run", resume=False, console=QUIET, cache=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_language_that_the_initial_model_never_learned_is_told_before_training(shapes: Path, mixed: Path, tmp_path: Path) -> None:
    Run(writer(shapes, "en", "data.phrasings={en: {}}"), tmp_path / "first", resume=False, console=QUIET, cache=tmp_path).train()
    begins = f"initial={tmp_path / 'first'}"
    with pytest.raises(UserError, match=r"the initial model was not trained on zh, ko.*refit=\[decoders\.text\]"):
        Run(writer(mixed, "en, zh, ko", begins), tmp_path / "second", resume=False, console=QUIET, cache=tmp_path)
    assert not (tmp_path / "second").exists()
    Run(writer(mixed, "en, zh, ko", begins, "refit=[decoders.text]"), tmp_path / "second", resume=False, console=QUIET, cache=tmp_path).train()


def test_the_card_says_which_languages_were_trained_on(mixed: Path, tmp_path: Path) -> None:
    run = Run(writer(mixed, "en, zh, ko", "data.hold_out=0"), tmp_path / "run", resume=False, console=QUIET, cache=tmp_path)
    run.train()
    assert Tonggan.from_pretrained(tmp_path / "run").config["trained"]["languages"] == {"en": 14, "zh": 1, "ko": 1}
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "| languages | en (14 captions), " in card
    assert "| held-out loss | not measured |" in card  # nothing is held out


def test_a_model_without_a_memory_tells_what_no_caption_had(shapes: Path, mixed: Path, tmp_path: Path) -> None:
    def words(name: str, recipe: Recipe) -> Tonggan:
        Run(recipe, tmp_path / name, resume=False, console=QUIET, cache=tmp_path).train()
        return Tonggan.from_pretrained(tmp_path / name)

    first = words("first", writer(shapes, "en, zh, ko"))
    assert first.guessed("a green circle", to="text") == []
    assert first.guessed("bun 包 고양이 zebras", to="text") == [
        "no caption that the model learned from has '包', '고양이', 'zebras': it can only guess at that."
    ]
    assert first.guessed("a gren circle", to="text") == [
        "no caption that the model learned from has 'gren': it can only guess at that. Did you mean 'green'?"
    ]
    assert first.guessed("?!", to="text") == ["there is no word in the caption: the model can only guess what is meant."]
    first.save_pretrained(tmp_path / "copy")
    assert Tonggan.from_pretrained(tmp_path / "copy").words == first.words
    second = words("second", writer(mixed, "en, zh, ko", f"initial={tmp_path / 'first'}", "data.hold_out=0"))
    assert second.guessed("bun 包 形 고양이", to="text") == ["no caption that the model learned from has '고양이': it can only guess at that."]
    (tmp_path / "first" / "model" / "seen-words.txt").unlink()
    unlisted = words("third", writer(mixed, "en, zh, ko", f"initial={tmp_path / 'first'}"))
    assert unlisted.words is None  # what the first one knew cannot be told any more
    assert unlisted.unknown("zebras", to="text") == []
