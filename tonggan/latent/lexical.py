"""Which texts share their rare words: TF-IDF with the cosine, in any language, without training.

The classic scheme (Salton & Buckley 1988): a text is the set of its words, each with the weight log(1 + texts / texts that have it); how near two
texts are is the cosine of their weights. Words are hashed, so that an index is four arrays and no vocabulary.
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tonggan.modalities.text import EAST_ASIAN, LATIN, words_by_script

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+")
NUMBER = re.compile(r"\d+")
NO_SCRIPT, SIGNS = "", "SIGNS"
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
SPACED = 1 << 18
"""Buckets of words that are written with spaces; those of pieces of unspaced writing come after them."""
BUCKETS = 2 * SPACED
PIECE = 0.5
"""What a piece of unspaced writing counts for: n characters have 2 n - 1 pieces, and would outweigh the spaced words beside them twice over."""
SPELT = 4
"""Letters from which a word is told where it is unknown, or sought as a part of one: shorter ones ("of", "the") say little."""
RARER = 4
"""How many times rarer than its other number a word is to stand for both: "cats" is in a text or two that a hundred have of "cat"."""
FATIGUE = 0.5
CANDIDATES = 4096

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def words(text: str) -> list[str]:
    """Return the distinct words of a text, in order; Chinese and Japanese, written without spaces, give characters and pairs of characters."""
    found: dict[str, None] = {}
    for run in WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        pieces = [*run, *(run[i : i + 2] for i in range(len(run) - 1))] if UNSPACED.match(run) else [run]
        found |= dict.fromkeys(pieces)
    return list(found)


def telling(text: str) -> dict[str, str]:
    """Return (word or sign -> its script) of what a text names, in order: whole words, characters of unspaced writing, numbers and signs such as emoji."""
    found: dict[str, str] = {}
    for each in dict.fromkeys(unicodedata.normalize("NFKC", text).casefold().split()):
        for script, letters in words_by_script(each):
            found |= dict.fromkeys(letters if script == EAST_ASIAN else [letters], script)
        found |= dict.fromkeys(NUMBER.findall(each), NO_SCRIPT) | {sign: SIGNS for sign in each if unicodedata.category(sign) == "So"}
    return found


def unknown_words(text: str, known: Callable[[str], bool]) -> list[str]:
    """Return what `telling` finds in a text and `known` does not know, also not as its singular or plural, in order.

    Short words are passed over where another word of their script is known, and beside long ones in Latin letters ("an explosion"): of a script that is
    unknown altogether they may be all that is said.
    """
    script_of_word = telling(text)
    strange = [word for word, script in script_of_word.items() if not any(map(known, [word, *(_other_number(word) if script == LATIN else [])]))]
    enough = {word for word, script in script_of_word.items() if word not in strange or (script == LATIN and len(word) >= SPELT)}
    read = {NO_SCRIPT, *(script_of_word[word] for word in enough)}
    plain = unicodedata.normalize("NFKC", text).casefold()
    named = (word for word in strange if len(word) >= SPELT or script_of_word[word] in (EAST_ASIAN, SIGNS) or script_of_word[word] not in read)
    return sorted(named, key=plain.find)


def _other_number(word: str) -> list[str]:
    """Return what the singular of a word that ends in -s may be, or its plural, as English forms it; no more than that: a word too many may fall by chance
    into the bucket of another one."""
    if word.endswith("ies"):
        return [f"{word[:-3]}y"]
    if word.endswith("s"):
        return [word[:-1], *([word[:-2]] if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")) else [])]
    return [f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith(("x", "z", "ch", "sh")) else f"{word}s"]


def _bucket(word: str) -> int:
    return zlib.crc32(word.encode()) % SPACED + (SPACED if UNSPACED.match(word) else 0)


def _buckets(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(_bucket, words(text))))


def _weights(buckets: Integers, frequencies: Integers, texts: int) -> Floats:
    """Return what words that so many of `texts` have count for in a squared length."""
    rarity = np.log1p(texts / np.maximum(frequencies, 1)).astype(np.float32)
    return np.where(buckets < SPACED, 1, np.float32(PIECE)) * rarity**2


class LexicalIndex:
    """Texts of rows (a row may have many), sought by words.

    Attributes:
        starts: (BUCKETS + 1,) where the postings of each word begin.
        postings: texts that have the word, word after word.
        owners: (texts,) the row that each text belongs to.
    """

    def __init__(self, starts: Integers, postings: npt.NDArray[np.int32], owners: npt.NDArray[np.int32]) -> None:
        self.starts, self.postings, self.owners = starts, postings, owners
        frequency = np.diff(starts)
        weights = _weights(np.arange(BUCKETS), frequency, len(owners))
        squares = np.bincount(postings, weights=np.repeat(weights, frequency), minlength=len(owners))
        self._norms = np.sqrt(np.maximum(squares, 1e-12)).astype(np.float32)

    @classmethod
    def build(cls, rows: Iterable[Iterable[str]]) -> "LexicalIndex":
        """Index the texts of rows; texts of one row that have the same words count once."""
        pairs: list[tuple[int, ...]] = []
        owners: list[int] = []
        for row, texts in enumerate(rows):
            for buckets in dict.fromkeys(tuple(sorted(_buckets(text))) for text in texts):
                pairs.append(buckets)
                owners.append(row)
        texts_of = np.repeat(np.arange(len(pairs), dtype=np.int32), [len(buckets) for buckets in pairs])
        words_of = np.fromiter((bucket for buckets in pairs for bucket in buckets), dtype=np.int64, count=len(texts_of))
        order = np.argsort(words_of, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(words_of, minlength=BUCKETS))]).astype(np.int64)
        return cls(starts, texts_of[order], np.asarray(owners, dtype=np.int32))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what `from_arrays` takes."""
        used = np.flatnonzero(np.diff(self.starts))
        return {
            "words": used.astype(np.int32),
            "counts": np.diff(self.starts)[used].astype(np.int32),
            "postings": _squeezed(self.postings),
            "owners": _squeezed(self.owners),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "LexicalIndex":
        """Return the index that `arrays` was taken of."""
        counts = np.zeros(BUCKETS, dtype=np.int64)
        counts[arrays["words"].astype(np.int64)] = arrays["counts"]
        return cls(np.concatenate([[0], np.cumsum(counts)]), _unsqueezed(arrays["postings"]), _unsqueezed(arrays["owners"]))

    def unknown(self, text: str) -> list[str]:
        """Return the words and signs of a text that no text here has, in order, as `unknown_words` does; signs such as emoji are no words to this index."""
        return unknown_words(text, self._has)

    def _has(self, word: str) -> bool:
        pieces = words(word)
        return bool(pieces) and all(map(self._frequency, pieces))

    def _frequency(self, word: str) -> int:
        bucket = _bucket(word)
        return int(self.starts[bucket + 1] - self.starts[bucket])

    def _numbers(self, word: str) -> list[str]:
        """Return a word, and its other number where that is what texts have."""
        if UNSPACED.match(word):
            return [word]
        return [word, *(other for other in _other_number(word) if self._frequency(other) > RARER * self._frequency(word))]

    def _parts(self, word: str) -> list[str]:
        """Return the two known words that an unknown one is made of ("lighthouse"), or the word."""
        splits = ((word[:end], word[end:]) for end in range(SPELT, len(word) - SPELT + 1))
        return next((list(split) for split in splits if all(map(self._frequency, split))), [word])

    def _asked(self, text: str) -> tuple[Integers, list[npt.NDArray[np.int32]]]:
        """Return the buckets of a text's words that texts here have, rarest first, and which texts those are, in order."""
        spans: dict[int, npt.NDArray[np.int32]] = {}
        for word in words(text):
            numbers = self._numbers(word)
            for part in [word] if any(map(self._frequency, numbers)) else self._parts(word):
                buckets = [_bucket(each) for each in (numbers if part == word else [part])]
                having = [self.postings[self.starts[bucket] : self.starts[bucket + 1]] for bucket in buckets]
                spans[buckets[0]] = having[0] if len(having) == 1 else np.unique(np.concatenate(having)).astype(np.int32)
        rarest = sorted((bucket for bucket in spans if len(spans[bucket])), key=lambda bucket: len(spans[bucket]))
        return np.asarray(rarest, dtype=np.int64), [spans[bucket] for bucket in rarest]

    def nearest(self, text: str, count: int, *, excluded: int | None = None) -> tuple[Integers, Floats]:
        """Return up to `count` rows with their scores in (0, 1], the first by cosine alone; `excluded` is never among them.

        Words that a chosen row has count for `FATIGUE` of what they did when the next is chosen, so that rows are found for all of what a text asks
        ("a dog with sunglasses": sunglasses, then a dog). Ties go to the earlier row. A word that is unknown is sought as its singular or plural, or as
        the two words that it is made of.
        """
        buckets, spans = self._asked(text)
        if not spans:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        # Common words ("style") rank the texts that rarer words found, and find none themselves.
        rare = np.cumsum([len(span) for span in spans]) <= CANDIDATES
        touched = np.unique(np.concatenate([spans[0], *(span for span, few in zip(spans, rare, strict=True) if few)]))
        has = np.stack([_contains(span, touched) for span in spans])
        owners = self.owners[touched]
        allowed = owners != (-1 if excluded is None else excluded)
        weights = _weights(buckets, np.asarray([len(span) for span in spans]), len(self.owners))
        scale = allowed / (self._norms[touched] * np.sqrt(weights.sum()))
        rows, scores = list[int](), list[float]()
        while len(rows) < count and len(touched):
            found = (weights @ has) * scale
            best = int(found.argmax())
            if found[best] <= 0:
                break
            rows.append(int(owners[best]))
            scores.append(float(found[best]))
            scale[owners == owners[best]] = 0
            weights = np.where(has[:, best] > 0, FATIGUE * weights, weights)
        return np.asarray(rows, dtype=np.int64), np.asarray(scores, dtype=np.float32)


def _squeezed(values: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Return numbers that mostly rise by little as few bytes: differences, all their lowest bytes first, deflated."""
    steps = np.diff(values, prepend=np.int32(0)).astype("<i4")
    return np.frombuffer(zlib.compress(steps.view(np.uint8).reshape(-1, 4).T.tobytes(), 9), dtype=np.uint8)


def _unsqueezed(stored: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
    """Return the numbers that `_squeezed` was given; raises `ValueError` where they are damaged."""
    try:
        planes = np.frombuffer(zlib.decompress(stored.tobytes()), dtype=np.uint8).reshape(4, -1)
    except zlib.error as error:
        raise ValueError(f"the index is damaged: {error}") from error
    return np.cumsum(np.ascontiguousarray(planes.T).view("<i4").ravel(), dtype=np.int32)


def _contains(sorted_values: npt.NDArray[np.int32], wanted: npt.NDArray[np.int32]) -> Floats:
    """Return 1 where `wanted` is among `sorted_values`, else 0."""
    places = np.searchsorted(sorted_values, wanted)
    return (sorted_values[np.minimum(places, len(sorted_values) - 1)] == wanted).astype(np.float32)
