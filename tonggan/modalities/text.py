"""Text: captions as they come, made regular."""

import re
import unicodedata
from typing import Any

from tonggan.errors import UserError
from tonggan.modalities import Modality

SPACE = re.compile(r"\s+")
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}([_-][A-Za-z]{2,4})?$")
KANA = re.compile(r"[\u3040-\u30ff]")
HAN = re.compile(r"[\u3400-\u9fff]")


def clean_caption(text: str) -> str:
    """Return a caption in Unicode NFC with white space folded; empty where nothing is left."""
    return SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def guess_language(text: str) -> str:
    """Return `ja` for text with kana, `zh` for other text with Han characters, else `en`: for captions that come without a language."""
    if KANA.search(text):
        return "ja"
    return "zh" if HAN.search(text) else "en"


def is_language_code(name: str) -> bool:
    """Return whether `name` looks like a language code (`en`, `pt_BR`, `zh-CN`)."""
    return bool(LANGUAGE_CODE.match(name))


def check_caption(text: str) -> str:
    """Return a caption given by a user, made regular; raises `UserError` where it is empty."""
    cleaned = clean_caption(text)
    if not cleaned:
        raise UserError("the caption is empty. Say what is to be drawn, for example: 'a red heart, noto style'.")
    return cleaned


def _to_outputs(made: Any) -> list[Any]:
    return list(made)


MODALITY = Modality("text", lambda value: isinstance(value, str), lambda texts, framing: [check_caption(text) for text in texts], _to_outputs)
