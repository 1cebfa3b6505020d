import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tonggan.decoders.search import Search, allowed, beam_search, nucleus, repeated, sample
from tonggan.errors import UserError

END, WORDS = 0, 5


class Chain:
    """A writer whose next token depends on the last two alone, through a fixed table: what it writes can be found by trying everything."""

    def __init__(self, table: Tensor) -> None:
        self.table = table  # (WORDS, WORDS, WORDS) log-probabilities
        self.last: Tensor | None = None

    def next(self, ids: Tensor) -> Tensor:
        self.last = ids[:, -2:] if self.last is None else torch.cat([self.last[:, -1:], ids], dim=1)
        return self.table[self.last[:, 0], self.last[:, 1]]

    def take(self, rows: Tensor) -> None:
        assert self.last is not None
        self.last = self.last[rows]


def table(seed: int) -> Tensor:
    return torch.randn(WORDS, WORDS, WORDS, generator=torch.Generator().manual_seed(seed)).mul(2).log_softmax(-1)


def log_probability(chain: Tensor, ids: tuple[int, ...]) -> float:
    whole = (1, 2, *ids, END)
    return sum(float(chain[whole[i], whole[i + 1], whole[i + 2]]) for i in range(len(whole) - 2))


def mean_log_probabilities(chain: Tensor, ids: tuple[int, ...]) -> tuple[float, float]:
    """Return what a sentence that came to its end is worth, and one that was cut before it."""
    whole, last = log_probability(chain, ids), (1, 2, *ids)[-2:]
    return whole / (len(ids) + 1), (whole - float(chain[last[0], last[1], END])) / max(len(ids), 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_what_trying_everything_finds(seed: int) -> None:
    chain = table(seed)
    search = Search(prefix=(1, 2), end=END, max_new_tokens=4, num_beams=200)
    every = [ids for length in range(4) for ids in itertools.product(range(1, WORDS), repeat=length)]
    best = max(every, key=lambda ids: log_probability(chain, ids) / (len(ids) + 1))
    found = beam_search(Chain(chain), 1, search)[0]
    assert found.ids == best
    assert found.score == pytest.approx(log_probability(chain, best) / (len(best) + 1), abs=1e-4)


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    chain = table(3)
    found = beam_search(Chain(chain), 1, Search(prefix=(1, 2), end=END, max_new_tokens=6))[0]
    expected, last = [], (1, 2)
    for _ in range(6):
        token = int(chain[last].argmax())
        if token == END:
            break
        expected.append(token)
        last = (last[1], token)
    assert list(found.ids) == expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tokens", [3, 8])
def test_what_a_penalty_chooses_is_told_without_it(seed: int, tokens: int) -> None:
    chain = table(seed)
    search = Search(prefix=(1, 2), end=END, max_new_tokens=tokens, repetition_penalty=1.5, temperature=1.0)
    for beams in (1, 3):
        found = beam_search(Chain(chain), 1, replace(search, num_beams=beams))[0]
        assert found.score in (pytest.approx(each, abs=1e-5) for each in mean_log_probabilities(chain, found.ids))
    drawn = sample(Chain(chain), [seed], search)[0]
    assert drawn.score in (pytest.approx(each, abs=1e-5) for each in mean_log_probabilities(chain, drawn.ids))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_sample_does_not_depend_on_its_batch(beams: int) -> None:
    chain = table(5)
    search = Search(prefix=(1, 2), end=END, max_new_tokens=12, num_beams=beams)

    class Several(Chain):
        def next(self, ids: Tensor) -> Tensor:
            logs = super().next(ids)
            rows = torch.arange(len(ids)) // beams
            return torch.where((rows == 0)[:, None], logs, logs.roll(1, -1))

    alone = beam_search(Several(chain), 1, search)[0]
    assert beam_search(Several(chain), 3, search)[0] == alone


def test_repetition_is_forbidden() -> None:
    assert repeated([1, 2, 3, 1, 2], 3) == {3}
    assert repeated([1, 2, 3], 0) == set()
    assert repeated([4, 4], 1) == {4}
    logs = allowed(torch.full((1, WORDS), -1.0), [[1, 2, 1]], Search(prefix=(), end=END, banned=(4,), no_repeat_ngram_size=2, repetition_penalty=1.5))
    assert logs[0].tolist() == [-1.0, -1.5, -math.inf, -1.0, -math.inf]


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    logs = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert torch.isfinite(nucleus(logs, 0.8))[0].tolist() == [True, True, False, False]
    assert torch.isfinite(nucleus(logs, 0.81))[0].tolist() == [True, True, True, False]
    assert torch.isfinite(nucleus(logs, 0.01))[0].tolist() == [True, False, False, False]


def test_sampling_hangs_on_the_seed_of_its_row_and_follows_the_probabilities() -> None:
    chain = table(1)
    search = Search(prefix=(1, 2), end=END, max_new_tokens=3, temperature=1.0)
    many = sample(Chain(chain), list(range(2000)), search)
    assert sample(Chain(chain), [7], search)[0] == many[7]
    share = sum(not found.ids for found in many) / len(many)
    assert share == pytest.approx(float(chain[1, 2, END].exp()), abs=0.04)


def test_settings_that_make_no_sense() -> None:
    for setting, said in (
        ({"top_p": 0}, "top_p must be above 0"),
        ({"temperature": math.inf}, "temperature must be a number, not inf"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"temperature": math.nan}, "temperature must be a number, not nan"),
        ({"top_p": None}, "top_p must be a number, not None"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"max_new_tokens": 2.5}, r"max_new_tokens must be a whole number, not 2\.5"),
        ({"num_beams": True}, "num_beams must be a whole number, not True"),
    ):
        with pytest.raises(UserError, match=said):
            replace(Search(prefix=(), end=END), **setting).check()  # type: ignore[arg-type]
