"""Columns of a table: which one names the picture or the clip, which ones are captions, in which languages."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from tonggan.errors import UserError
from tonggan.modalities.text import clean_caption, guess_language, is_language_code

FILE_COLUMNS = ("file_name", "filepath", "image", "image_path", "path", "filename", "file", "video", "clip", "audio", "name", "id")
CAPTION_COLUMNS = ("text", "caption", "captions", "title", "sentences", "description")
LABEL_COLUMN = "label"
"""What tables of clips have in place of a caption."""
NO_LANGUAGES = ("id", "no")
"""Codes of languages that end a column's name for another reason: `text_id` and `caption_no` are numbers, not Indonesian and Norwegian."""
SPLIT_COLUMNS = ("split", "partition")


def find_column(columns: Sequence[str], known: Sequence[str], *, what: str, where: str) -> str:
    """Return the first of `known` among `columns`; raises `UserError` that suggests the nearest."""
    for name in known:
        if name in columns:
            return name
    alike = {name: max(SequenceMatcher(None, name.lower(), each).ratio() for each in known) for name in columns}
    close = sorted((name for name in columns if alike[name] >= 0.6 or any(each[:4] in name.lower() for each in known)), key=lambda name: -alike[name])
    guess = f" Did you mean '{close[0]}'? Rename it to '{known[0]}'." if close else f" Rename yours to '{known[0]}'."
    raise UserError(f"{where}: no column for the {what}: looked for {', '.join(known)}; found {', '.join(columns)}.{guess}")


def is_by_language(value: Any) -> bool:
    """Return whether a value is a dictionary language code -> text."""
    return isinstance(value, Mapping) and bool(value) and all(is_language_code(str(key)) for key in value)


def joined(first: Mapping[str, tuple[str, ...]], second: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the captions by language of both, each once, the first's first."""
    return {language: tuple(dict.fromkeys(first.get(language, ()) + second.get(language, ()))) for language in (*first, *second)}


def language_of(column: str) -> str | None:
    """Return the language that a column's name says its captions are in: `zh` of `text_zh` and `caption_zh`, None of any other."""
    kind, _, language = column.partition("_")
    return language if kind in CAPTION_COLUMNS and language not in NO_LANGUAGES and is_language_code(language) else None


def captions_of(columns: Mapping[str, Any], caption_column: str | None) -> dict[str, tuple[str, ...]]:
    """Collect a row's captions by language.

    They are in the caption column, in columns with the language in their name, and in every column that is a dictionary language -> text.
    """
    found: dict[str, list[str]] = {}

    def add(text: Any, language: str | None) -> None:
        cleaned = clean_caption(text) if isinstance(text, str) else ""
        if cleaned:
            known = found.setdefault(language or guess_language(cleaned), [])
            if cleaned not in known:
                known.append(cleaned)

    named = [(name, language) for name in columns if (language := language_of(name))]
    for name, language in [(caption_column, None), *named]:
        value = columns.get(name) if name else None
        for text in value if isinstance(value, (list, tuple)) else (value,):
            add(text, language)
    for each in columns.values():
        if is_by_language(each):
            for language, text in each.items():
                add(text, str(language))
    return {language: tuple(texts) for language, texts in found.items()}
