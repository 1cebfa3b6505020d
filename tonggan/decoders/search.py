"""Searching a sentence: greedy and beam search, nucleus sampling, and what forbids repetition. Knows tokens, not what writes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol

import torch
from torch import Tensor

from tonggan.errors import UserError

WHOLE = ("max_new_tokens", "num_beams", "no_repeat_ngram_size")
REAL = ("length_penalty", "repetition_penalty", "temperature", "top_p")


class NextToken(Protocol):
    """What the search asks of a decoder that keeps its own past."""

    def next(self, ids: Tensor) -> Tensor:
        """(rows, tokens) new tokens -> (rows, vocabulary) log-probabilities of what follows, on the CPU."""
        ...

    def take(self, rows: Tensor) -> None:
        """Go on with these rows, in this order."""
        ...


@dataclass(frozen=True)
class Search:
    """How to search. Ids of `prefix` stand in front of every sentence; `banned` are never chosen."""

    prefix: tuple[int, ...]
    end: int
    banned: tuple[int, ...] = ()
    max_new_tokens: int = 46
    num_beams: int = 1
    length_penalty: float = 1.0
    """Sentences are compared by log-probability / length ** `length_penalty` (Wu et al. 2016, arXiv:1609.08144, equation 14, simplified)."""
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    """Log-probabilities of tokens that stand already are multiplied by this (CTRL, arXiv:1909.05858, section 4.1)."""
    temperature: float = 0.0
    top_p: float = 1.0

    def check(self) -> None:
        """Raise `UserError` for a setting that is no number of its kind, or makes no sense."""
        for names, kind, called in ((WHOLE, Integral, "a whole number"), (REAL, Real, "a number")):
            for name in names:
                value = getattr(self, name)
                if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
                    raise UserError(f"{name} must be {called}, not {value!r}.")
        rules = {
            "num_beams": (self.num_beams >= 1, "at least 1"),
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "repetition_penalty": (self.repetition_penalty >= 1, "at least 1"),
            "no_repeat_ngram_size": (self.no_repeat_ngram_size >= 0, "0 or more"),
        }
        for name, (right, wanted) in rules.items():
            if not right:
                raise UserError(f"{name} must be {wanted}, not {getattr(self, name):g}.")


@dataclass(frozen=True)
class Found:
    """A sentence: its tokens without prefix and end, and the mean log-probability of its tokens (the end counts), whatever penalties it was sought with."""

    ids: tuple[int, ...]
    score: float


def repeated(ids: Sequence[int], size: int) -> set[int]:
    """Return the tokens that would complete an n-gram of `size` that stands in `ids` already."""
    if size < 1 or len(ids) < size:
        return set()
    last = tuple(ids[len(ids) - size + 1 :])
    return {ids[i + size - 1] for i in range(len(ids) - size + 1) if tuple(ids[i : i + size - 1]) == last}


def allowed(logs: Tensor, written: Sequence[Sequence[int]], search: Search) -> Tensor:
    """Return log-probabilities (rows, vocabulary) with what is forbidden at minus infinity."""
    logs = logs.clone()
    logs[:, list(search.banned)] = -math.inf
    for row, ids in enumerate(written):
        if search.repetition_penalty != 1 and ids:
            seen = torch.tensor(sorted(set(ids)), device=logs.device)
            logs[row, seen] *= search.repetition_penalty
        for token in repeated(ids, search.no_repeat_ngram_size):
            logs[row, token] = -math.inf
    return logs


def beam_search(writer: NextToken, samples: int, search: Search) -> list[Found]:
    """Return the best sentence found for each sample; with one beam this is greedy search.

    The writer's rows are the beams of sample 0, then of sample 1, ... A sample is finished when no living beam can become better than its worst
    finished one; all samples go on until the last is finished.
    """
    beams = search.num_beams
    ids = torch.tensor([search.prefix] * (samples * beams))
    written: list[list[int]] = [[] for _ in range(samples * beams)]
    totals = torch.full((samples, beams), -math.inf)
    totals[:, 0] = 0  # all beams are alike at first: go on from one
    plain_totals = torch.zeros(samples, beams)  # without penalties, which choose and are not told
    finished: list[list[tuple[float, Found]]] = [[] for _ in range(samples)]
    settled = [False] * samples
    for length in range(1, search.max_new_tokens + 1):
        plain = writer.next(ids)
        logs = allowed(plain, written, search)
        width = logs.shape[-1]
        reached = (totals.reshape(-1, 1) + logs).reshape(samples, beams * width)
        best, places = reached.topk(min(2 * beams, beams * width), dim=1)
        unpenalised = (plain_totals.reshape(-1, 1) + plain).reshape(samples, beams * width).gather(1, places)
        rows, tokens = places // width, places % width
        chosen_rows, chosen_tokens = [], []
        for sample_index in range(samples):
            living = 0
            candidates = zip(*(each[sample_index].tolist() for each in (best, unpenalised, rows, tokens)), strict=True)
            for rank, (total, plain_total, row, token) in enumerate(candidates):
                place = sample_index * beams + row
                if token == search.end:
                    if rank < beams and total > -math.inf and not settled[sample_index]:
                        sentence = Found(tuple(written[place]), plain_total / length)
                        finished[sample_index].append((total / length**search.length_penalty, sentence))
                elif living < beams:
                    totals[sample_index, living] = total
                    plain_totals[sample_index, living] = plain_total
                    chosen_rows.append(place)
                    chosen_tokens.append(token)
                    living += 1
            finished[sample_index] = sorted(finished[sample_index], key=lambda each: -each[0])[:beams]
            # What a sample ends with must not hang on how long the others of its batch take.
            settled[sample_index] |= _settled(finished[sample_index], totals[sample_index], length, search)
        written = [[*written[row], token] for row, token in zip(chosen_rows, chosen_tokens, strict=True)]
        writer.take(torch.tensor(chosen_rows))
        ids = torch.tensor(chosen_tokens)[:, None]
        if all(settled):
            break
    return [_best(finished[i], written[i * beams], float(plain_totals[i, 0])) for i in range(samples)]


def _settled(finished: list[tuple[float, Found]], totals: Tensor, length: int, search: Search) -> bool:
    if len(finished) < search.num_beams:
        return search.num_beams == 1 and bool(finished)
    longest = search.max_new_tokens if search.length_penalty > 0 else length
    return finished[-1][0] >= float(totals.max()) / longest**search.length_penalty


def _best(finished: list[tuple[float, Found]], living: list[int], total: float) -> Found:
    return finished[0][1] if finished else Found(tuple(living), total / max(len(living), 1))


def sample(writer: NextToken, seeds: Sequence[int], search: Search) -> list[Found]:
    """Return one sentence a row by nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751): row i draws from `seeds[i]` alone."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    ids = torch.tensor([search.prefix] * len(seeds))
    written: list[list[int]] = [[] for _ in seeds]
    totals, ended = [0.0] * len(seeds), [False] * len(seeds)
    for _ in range(search.max_new_tokens):
        plain = writer.next(ids)
        logs = nucleus(allowed(plain, written, search) / search.temperature, search.top_p)
        chosen = []
        for row, generator in enumerate(generators):
            token = int(torch.multinomial(logs[row].softmax(-1), 1, generator=generator))
            chosen.append(token)
            if ended[row]:
                continue
            totals[row] += float(plain[row, token])
            ended[row] = token == search.end
            if not ended[row]:
                written[row].append(token)
        if all(ended):
            break
        ids = torch.tensor(chosen)[:, None]
    return [Found(tuple(each), total / max(len(each) + done, 1)) for each, total, done in zip(written, totals, ended, strict=True)]


def nucleus(logs: Tensor, top_p: float) -> Tensor:
    """Return log-probabilities (rows, vocabulary) with all but the likeliest tokens that together reach `top_p` at minus infinity."""
    values, order = logs.log_softmax(-1).sort(-1, descending=True)
    before = values.exp().cumsum(-1) - values.exp()
    values = values.masked_fill(before >= top_p, -math.inf)
    return torch.full_like(logs, -math.inf).scatter(-1, order, values)
