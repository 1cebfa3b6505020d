"""Who wins: Bradley-Terry strengths of models with bootstrap intervals over the prompts, and how many votes tell two models apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tonggan.evaluation.intervals import CONFIDENCE, RESAMPLES, Interval, percentiles, resample_weights, share_interval
from tonggan.feedback.tables import Choice

Numbers = npt.NDArray[np.float64]

POWER = 0.8
"""Chance with which a difference that is there is to be seen."""
PRIOR_WINS = 0.5
"""Added to both ways of every pair of models (Anscombe 1956): without it a model that has never lost would be infinitely strong."""
ELO = 400 / math.log(10)
"""Points of a strength of one: 400 points are odds of ten to one, as in chess."""
TOLERANCE = 1e-9
ITERATIONS = 10_000


@dataclass(frozen=True)
class Comparison:
    """One vote as the ranking needs it."""

    prompt: str
    first: str
    second: str
    choice: Choice


@dataclass(frozen=True)
class Standing:
    """A model's place: strength in Elo points around the mean of all models, and its share of wins (a tie is half of one)."""

    model: str
    votes: int
    strength: Interval
    share: float


@dataclass(frozen=True)
class Duel:
    """Two models side by side; `share` is the first's of wins, a tie or "both bad" being half of one."""

    first: str
    second: str
    votes: int
    wins: int
    losses: int
    ties: int
    bad: int
    share: Interval
    told_apart: bool
    """Whether the interval of the difference of their strengths leaves zero out, and a sign test over the prompts says that chance is unlikely, too."""
    votes_needed: int | None
    """Votes in all that would show a difference as large as this one; None where none is seen."""


@dataclass(frozen=True)
class Ranking:
    """Models, the strongest first, and every two of them that met."""

    standings: tuple[Standing, ...]
    duels: tuple[Duel, ...]


def rank(comparisons: Sequence[Comparison], *, resamples: int = RESAMPLES, seed: int = 0) -> Ranking:
    """Rank the models that were compared; intervals are of 95 %, over prompts drawn with replacement (votes on one prompt are not independent).

    Where a few prompts agree, every resample is the same, and one vote would decide: two models are told apart where `sign_test` over the prompts on which
    both stood says so, too, and a share that no resample changes has Wilson's interval for as many prompts.
    Raises `ValueError` without any comparison.
    """
    if not comparisons:
        raise ValueError("a ranking needs at least one vote.")
    models = sorted({name for each in comparisons for name in (each.first, each.second)})
    wins = wins_by_prompt(comparisons, models)
    weights = resample_weights(len(wins), resamples=resamples, seed=seed)
    resampled_wins = np.einsum("pij,pr->rij", wins, weights)
    strengths, resampled = bradley_terry(wins.sum(0)), bradley_terry(resampled_wins)
    order = np.argsort(-strengths)
    played = wins.sum(0) + wins.sum(0).T
    standings = tuple(
        Standing(
            models[i], round(played[i].sum()), percentiles(ELO * strengths[i], ELO * resampled[:, i]), float(wins.sum(0)[i].sum() / played[i].sum())
        )
        for i in order
    )
    duels = []
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if played[i, j]:
                low, high = np.quantile(resampled[:, i] - resampled[:, j], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
                sides = (slice(None), [i, j], [j, i])
                duels.append(_duel(comparisons, models[i], models[j], wins[sides], resampled_wins[sides], differ=bool(low > 0 or high < 0)))
    return Ranking(standings, tuple(duels))


def wins_by_prompt(comparisons: Sequence[Comparison], models: Sequence[str]) -> Numbers:
    """Return (prompts, models, models): how often row won against column; a tie and "both bad" are half a win for both."""
    place = {model: index for index, model in enumerate(models)}
    row = {prompt: index for index, prompt in enumerate(dict.fromkeys(each.prompt for each in comparisons))}
    wins = np.zeros((len(row), len(models), len(models)))
    for each in comparisons:
        one, other, prompt = place[each.first], place[each.second], row[each.prompt]
        share = {Choice.FIRST: 1.0, Choice.SECOND: 0.0}.get(each.choice, 0.5)
        wins[prompt, one, other] += share
        wins[prompt, other, one] += 1 - share
    return wins


def bradley_terry(wins: Numbers, *, prior_wins: float = PRIOR_WINS) -> Numbers:
    """Return log strengths (..., models) of mean zero, most likely for `wins` (..., models, models) under P(i beats j) = s_i / (s_i + s_j).

    Bradley and Terry 1952, by the iteration of Hunter 2004 (equation 3), all matrices at once. Raises `ValueError` where it does not converge.
    """
    models = wins.shape[-1]
    won = wins + prior_wins * (1 - np.eye(models))
    total, games = won.sum(-1), won + np.swapaxes(won, -1, -2)
    logs = np.zeros(wins.shape[:-1])
    for _ in range(ITERATIONS):
        strengths = np.exp(logs)
        faced = (games / (strengths[..., :, None] + strengths[..., None, :])).sum(-1)
        new = np.log(total / faced)
        new -= new.mean(-1, keepdims=True)
        change, logs = np.abs(new - logs).max(), new
        if change < TOLERANCE:
            return logs
    raise ValueError(f"the strengths did not settle within {ITERATIONS} iterations.")


def sign_test(wins: Numbers) -> float:
    """Return the chance that two equals would lead on prompts as unevenly as here, or more so: `wins` (prompts, 2) are those of both on each prompt.

    Exact and two-sided, a coin a prompt; prompts on which neither leads say nothing (Dixon and Mood 1946).
    """
    leads = np.sign(wins[:, 0] - wins[:, 1])
    fewer, decided = min(int((leads > 0).sum()), int((leads < 0).sum())), int((leads != 0).sum())
    return min(1.0, 2 * sum(math.comb(decided, count) for count in range(fewer + 1)) / 2**decided)


def votes_needed(share: float) -> int | None:
    """Return how many independent votes tell `share` of wins from even at 95 % with a power of 80 %; None where it is even.

    The sample size of a test of one proportion: ((z_a / 2 + z_b sqrt(p (1 - p))) / (p - 1/2))².
    """
    if abs(share - 0.5) < 1e-9:
        return None
    z_a, z_b = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), NormalDist().inv_cdf(POWER)
    return math.ceil(((z_a / 2 + z_b * math.sqrt(share * (1 - share))) / (share - 0.5)) ** 2)


def _duel(comparisons: Sequence[Comparison], first: str, second: str, wins: Numbers, resampled: Numbers, *, differ: bool) -> Duel:
    """Return the duel; `wins` (prompts, 2) and `resampled` (resamples, 2) are those of both on each prompt and in each resample.

    `differ` says whether the interval of the difference of their strengths leaves zero out.
    """
    counts = dict.fromkeys(Choice, 0)
    for each in comparisons:
        if (each.first, each.second) == (first, second):
            counts[each.choice] += 1
        elif (each.first, each.second) == (second, first):
            counts[{Choice.FIRST: Choice.SECOND, Choice.SECOND: Choice.FIRST}.get(each.choice, each.choice)] += 1
    votes = sum(counts.values())
    share = (counts[Choice.FIRST] + (counts[Choice.TIE] + counts[Choice.BAD]) / 2) / votes
    met = resampled[resampled.sum(1) > 0]
    shares = met[:, 0] / met.sum(1)
    prompts = int((wins.sum(1) > 0).sum())
    interval = percentiles(share, shares) if np.ptp(shares) > TOLERANCE else share_interval(np.full(prompts, share))
    needed = votes_needed((share * votes + PRIOR_WINS) / (votes + 2 * PRIOR_WINS))
    crowding = max(1.0, float(shares.var()) * votes / max(share * (1 - share), 1e-9))  # votes on one prompt agree: each says less than one
    return Duel(
        first,
        second,
        votes,
        counts[Choice.FIRST],
        counts[Choice.SECOND],
        counts[Choice.TIE],
        counts[Choice.BAD],
        interval,
        differ and sign_test(wins) < 1 - CONFIDENCE,
        None if needed is None else math.ceil(needed * crowding),
    )
