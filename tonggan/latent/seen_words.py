"""Which words a model has seen: a list beside its weights, so that what it does not know can be told where no memory tells it."""

from collections.abc import Collection, Iterable
from pathlib import Path

from tonggan.files import read_text, replacing
from tonggan.latent.lexical import telling

FILE = "seen-words.txt"
MOST_BYTES = 200_000
"""Room for the list; of more words none is kept, for half a list would call known words unknown."""


def seen_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words, characters of unspaced writing, numbers and signs of texts."""
    distinct = {each for text in texts for each in text.split()}
    return frozenset(word for each in distinct for word in telling(each))


def save_words(folder: Path, words: Collection[str] | None) -> None:
    """Write a list of words into `folder`, one a line, in order; None, or too many, for no list."""
    text = "".join(f"{word}\n" for word in sorted(words or ()))
    if text and len(text.encode()) <= MOST_BYTES:
        with replacing(folder / FILE) as beside:
            beside.write_text(text, encoding="utf-8")
    else:
        (folder / FILE).unlink(missing_ok=True)


def load_words(folder: Path) -> frozenset[str] | None:
    """Return the list that `save_words` wrote, None where there is none; raises `UserError` where it is not UTF-8."""
    return frozenset(read_text(folder / FILE).splitlines()) if (folder / FILE).is_file() else None
