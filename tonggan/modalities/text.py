"""Text: captions as they come, made regular."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
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
LATIN, EAST_ASIAN = "LATIN", "CJK"
LANGUAGE_OF = {
    LATIN: "en",
    "HANGUL": "ko",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "TAMIL": "ta",
    "TELUGU": "te",
}
"""Script -> the language that is mostly written in it; of the many in Latin letters the one that captions without a language are mostly in."""
UNDETERMINED = "und"
"""The code of ISO 639-2 for texts in a script that several languages share (Cyrillic, Arabic, Devanagari, ...)."""


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


@lru_cache(maxsize=8192)
def script_of(letter: str) -> str:
    """Return the script of a letter as Unicode names it (`LATIN`, `CYRILLIC`), `CJK` for kana, too; empty for what is no letter."""
    first = re.split("[ -]", unicodedata.name(letter, ""))[0] if letter.isalpha() else ""
    return EAST_ASIAN if first in ("HIRAGANA", "KATAKANA", "IDEOGRAPHIC") else first


def words_by_script(text: str) -> list[tuple[str, str]]:
    """Return (script, letters) of every run of letters of one script, in order; accents and vowel signs belong to the letter before them."""
    runs, before = list[tuple[str, str]](), ""
    for letter in unicodedata.normalize("NFKC", text):
        script = before if unicodedata.category(letter).startswith("M") else script_of(letter)
        if script and script == before:
            runs[-1] = (script, runs[-1][1] + letter)
        elif script:
            runs.append((script, letter))
        before = script
    return runs


def guess_language(text: str) -> str:
    """Return the language of a caption that comes without one, by the script that most of it is in.

    Words count one each, and Chinese and Japanese characters, which are written without spaces, one each: "a 包 bun" is `en`, "一只 cat" `zh`. A tie goes to
    Latin letters. These are taken for English, so that other languages in them have to be given; kana make the rest `ja`, Hangul is `ko`, and so on.
    `UNDETERMINED` is what no script tells.
    """
    counts = Counter[str]()
    for script, letters in [] if text.isascii() else words_by_script(text):
        counts[script] += len(letters) if script == EAST_ASIAN else 1
    most = max(counts, key=lambda script: (counts[script], script == LATIN), default=LATIN)
    if most == EAST_ASIAN:
        return "ja" if KANA.search(unicodedata.normalize("NFKC", text)) else "zh"
    return LANGUAGE_OF.get(most, UNDETERMINED)


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
        raise UserError("the caption is empty. Say in words what is to be made.")
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
