"""How close sentences are to what people said of the same pictures: BLEU, ROUGE-L, CIDEr-D, and what needs no reference.

The figures agree with `pycocoevalcap` (tests/evaluation/test_captions.py), which needs Java for its tokenizer; here everything is Python.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tonggan.evaluation.intervals import Z_SCORE, Interval, Numbers

ORDER = 4
"""N-grams of one to four tokens are compared."""
CIDER_SIGMA = 6.0
ROUGE_BETA = 1.2
PUNCTUATION = frozenset({"''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";", *"，。！？、；：“”‘’「」『』《》（）…—·"})
"""Tokens that COCO's evaluation drops, and their like in Chinese and Japanese."""
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
"""What COCO's evaluation makes of brackets: it means to drop them, but lower case hides them from its own list."""
SMALLEST_CORPUS = 100
"""Pictures below which CIDEr-D's document frequencies say little."""

CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))\b", re.IGNORECASE)
TOKEN = re.compile(
    r"n't|'(?:s|m|d|re|ve|ll)\b"  # what contractions are parted into
    r"|\d+(?:[.,:/]\d+)+"  # 1,000 and 3.5 and 1/2
    r"|(?:[A-Za-z]\.){2,}"  # u.s.
    r"|(?:mr|mrs|ms|dr|st|jr|sr|vs|etc)\.(?=\s|$)"
    r"|\w+(?:[-'’&/]\w+)*"
    r"|\.\.\.|--|''|``|[^\w\s]",
    re.IGNORECASE,
)
SPLIT_WORDS = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na"), "gimme": ("gim", "me")}
HAN = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")


def tokenize(sentence: str) -> list[str]:
    """Return lower-case tokens in the manner of the Penn Treebank, without punctuation; a Chinese or Japanese character is a token."""
    spaced = HAN.sub(r" \1 ", unicodedata.normalize("NFC", sentence.lower()).replace("’", "'"))
    parted = CLITIC.sub(r" \1", spaced)
    tokens = [piece for match in TOKEN.finditer(parted) for piece in SPLIT_WORDS.get(match[0], (match[0],))]
    return [BRACKETS.get(token, token) for token in tokens if token not in PUNCTUATION]


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of `order` tokens."""
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


@dataclass(frozen=True)
class Said:
    """One picture: what the model said, and what people said, as tokens."""

    candidate: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, candidate: str, references: Sequence[str]) -> "Said":
        """Tokenize a sentence and its references."""
        return cls(tuple(tokenize(candidate)), tuple(tuple(tokenize(each)) for each in references))


def bleu(corpus: Sequence[Said]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of a corpus (Papineni et al. 2002): clipped precision of n-grams, brevity against the closest reference."""
    return bleu_of(bleu_counts(corpus).sum(axis=0))


def bleu_counts(corpus: Sequence[Said]) -> Numbers:
    """Return (N, 10) what BLEU is made of, sentence by sentence: clipped n-grams of four orders, all n-grams, the length, the closest reference's."""
    rows = []
    for said in corpus:
        right, given = [], []
        for order in range(1, ORDER + 1):
            counts = ngrams(said.candidate, order)
            most: Counter[tuple[str, ...]] = Counter()
            for reference in said.references:
                most |= ngrams(reference, order)
            right.append((counts & most).total())
            given.append(counts.total())
        length = len(said.candidate)
        rows.append([*right, *given, length, min((abs(len(each) - length), len(each)) for each in said.references)[1]])
    return np.asarray(rows, dtype=np.float64)


def bleu_of(counts: Numbers) -> list[float]:
    """Return BLEU-1 to BLEU-4 of counts (10,) summed over a corpus."""
    length, closest = counts[2 * ORDER :]
    brevity = 1.0 if length >= closest or length == 0 else math.exp(1 - closest / length)
    scores, product = [], 1.0
    for order, (hits, total) in enumerate(zip(counts[:ORDER], counts[ORDER : 2 * ORDER], strict=True), 1):
        product *= float(hits / total) if total else 0.0
        scores.append(brevity * product ** (1 / order) if length else 0.0)
    return scores


def rouge_l(corpus: Sequence[Said]) -> Numbers:
    """Return (N,) ROUGE-L (Lin 2004): F of the longest common subsequence, best precision and best recall over the references; its mean is reported."""
    scores = []
    for said in corpus:
        common = [(_common(said.candidate, each), len(each)) for each in said.references]
        precision = max(hits for hits, _ in common) / max(len(said.candidate), 1)
        recall = max(hits / max(length, 1) for hits, length in common)
        weight = ROUGE_BETA**2
        scores.append((1 + weight) * precision * recall / (recall + weight * precision) if precision and recall else 0.0)
    return np.asarray(scores, dtype=np.float64)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for token in first:
        before = 0
        for index, other in enumerate(second, 1):
            before, row[index] = row[index], before + 1 if token == other else max(row[index], row[index - 1])
    return row[-1]


def cider_d(corpus: Sequence[Said]) -> Numbers:
    """Return (N,) CIDEr-D, the mean of which is reported (Vedantam et al. 2015, arXiv:1411.5726, section 3).

    Cosine of tf-idf n-gram vectors, clipped, with a length penalty, times ten. Document frequencies come from the references
    of the corpus itself, as in COCO's evaluation.
    """
    frequency: Counter[tuple[str, ...]] = Counter()
    for said in corpus:
        frequency.update({gram for reference in said.references for order in range(1, ORDER + 1) for gram in ngrams(reference, order)})
    rarity = {gram: math.log(len(corpus)) - math.log(count) for gram, count in frequency.items()}
    unseen = math.log(len(corpus))
    scores = []
    for said in corpus:
        made = _vectors(said.candidate, rarity, unseen)
        total = sum(_similarity(made, _vectors(each, rarity, unseen), len(said.candidate) - len(each)) for each in said.references)
        scores.append(10 * total / len(said.references))
    return np.asarray(scores, dtype=np.float64)


def _vectors(tokens: Sequence[str], rarity: Mapping[tuple[str, ...], float], unseen: float) -> list[dict[tuple[str, ...], float]]:
    return [{gram: count * rarity.get(gram, unseen) for gram, count in ngrams(tokens, order).items()} for order in range(1, ORDER + 1)]


def _similarity(made: Sequence[Mapping[tuple[str, ...], float]], truth: Sequence[Mapping[tuple[str, ...], float]], longer: int) -> float:
    total = 0.0
    for one, other in zip(made, truth, strict=True):
        product = sum(min(value, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, value in one.items())
        norms = math.sqrt(sum(value**2 for value in one.values())) * math.sqrt(sum(value**2 for value in other.values()))
        total += (product / norms if norms else 0.0) * math.exp(-(longer**2) / (2 * CIDER_SIGMA**2))
    return total / ORDER


def exact(candidates: Sequence[str], truths: Sequence[str]) -> float:
    """Return the share of sentences that are the truth, letter for letter but for case and white space."""
    same = sum(plain(one) == plain(other) for one, other in zip(candidates, truths, strict=True))
    return same / max(len(candidates), 1)


def plain(sentence: str) -> str:
    """Return a sentence without what does not count when two are compared: case, white space, full width."""
    return " ".join(unicodedata.normalize("NFKC", sentence).lower().split())


def distinct(corpus: Sequence[Said], order: int = 2) -> Interval:
    """Return the share of different n-grams among all that were said (Li et al. 2016, arXiv:1510.03055): low where a model says the same of everything.

    The interval is the jackknife's (Quenouille 1956), leaving out a sentence at a time: a bootstrap repeats sentences, which lowers every resample.
    """
    each = [ngrams(said.candidate, order) for said in corpus]
    every: Counter[tuple[str, ...]] = sum(each, Counter())
    kinds, total = len(every), every.total()
    value = kinds / max(total, 1)
    without = np.asarray([(kinds - sum(every[gram] == count for gram, count in own.items())) / max(total - own.total(), 1) for own in each])
    error = math.sqrt((len(each) - 1) / len(each) * float(np.square(without - without.mean()).sum()))
    return Interval(value, max(0.0, value - Z_SCORE * error), min(1.0, value + Z_SCORE * error))


def repeats(corpus: Sequence[Said], order: int = 2) -> list[bool]:
    """Return for each sentence whether an n-gram stands twice in it."""
    return [any(count > 1 for count in ngrams(said.candidate, order).values()) for said in corpus]
