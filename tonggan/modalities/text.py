"""Text: captions as they come, made regular."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing, Modality

SPACE = re.compile(r"\s+")
LANGUAGE_CODE = re.compile(r"([a-z]{2})([_-][A-Za-z]{2,4})?$")
LANGUAGES = frozenset(
    re.findall(
        "..",
        "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfygagdglgngugvhahehihohrhthuhyhzia"
        "idieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulvmgmhmimkmlmnmrmsmtmynanbndnengnlnnnonrnvnyocojomorospapiplps"
        "ptqurmrnrorurwsascsdsesgsiskslsmsnsosqsrssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxhyiyozazhzu",
    )
)
"""ISO 639-1."""
KANA = re.compile(r"[\u3040-\u30ff]")
HAN = re.compile(r"[\u3400-\u9fff]")


class Caption(str):
    """A text that knows its language (a code, or empty) and, where a model wrote it, the mean log-probability of its tokens."""

    language: str
    score: float | None

    def __new__(cls, text: str, *, language: str = "", score: float | None = None) -> "Caption":
        """Make a caption of a text."""
        made = super().__new__(cls, text)
        made.language, made.score = language, score
        return made


def clean_caption(text: str) -> str:
    """Return a caption in Unicode NFC with white space folded; empty where nothing is left."""
    return SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def guess_language(text: str) -> str:
    """Return `ja` for text with kana, `zh` for other text with Han characters, else `en`: for captions that come without a language."""
    if KANA.search(text):
        return "ja"
    return "zh" if HAN.search(text) else "en"


def is_language_code(name: str) -> bool:
    """Return whether `name` is a language code of ISO 639-1, perhaps with a region (`en`, `pt_BR`, `zh-CN`)."""
    found = LANGUAGE_CODE.match(name)
    return found is not None and found[1] in LANGUAGES


def check_caption(text: str) -> str:
    """Return a caption given by a user, made regular; raises `UserError` where it is empty, and where it is no text (half a character, say)."""
    cleaned = clean_caption(text)
    if any("\ud800" <= letter <= "\udfff" for letter in cleaned):
        raise UserError(f"the caption {cleaned!r} is not UTF-8 text. Write it again.")
    if not cleaned:
        raise UserError("the caption is empty. Say what is to be made, for example: 'a red heart, noto style'.")
    return cleaned


def _to_outputs(made: Any, framing: Framing) -> list[Any]:
    return list(made)


def _to_inputs(texts: Sequence[Any], framing: Framing) -> list[str]:
    return [check_caption(text) for text in texts]


def preview(made: Sequence[str], path: Path, framing: Framing) -> None:
    """Write sentences into a text file, one a line; `path` comes without the ending."""
    with replacing(path.with_name(f"{path.name}.txt")) as beside:
        beside.write_text("".join(f"{text}\n" for text in made), encoding="utf-8")


def show(text: str, made_from: Path | None, path: Path) -> Path:
    """Write one sentence into a text file and return it."""
    file = path.with_name(f"{path.name}.txt")
    with replacing(file) as beside:
        beside.write_text(text, encoding="utf-8")
    return file


def _closeness(made: Sequence[str], truth: Sequence[str]) -> tuple[float, str, float]:
    same = sum(one == clean_caption(other) for one, other in zip(made, truth, strict=True))
    return 100 * same / max(len(truth), 1), "% of the sentences", 100.0


MODALITY = Modality("text", lambda value: isinstance(value, str), _to_inputs, _to_outputs, show, preview, _closeness)
