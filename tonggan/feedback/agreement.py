"""Do voters agree, and did they look: Krippendorff's alpha over pairs that several voters judged, and the attention checks."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tonggan.errors import UserError
from tonggan.feedback.tables import Choice
from tonggan.feedback.votes import Ballot


@dataclass(frozen=True)
class Agreement:
    """How far voters say the same of the same pair."""

    pairs: int
    """Pairs that two voters or more judged."""
    alpha: float | None
    """Krippendorff's alpha, nominal: 1 where all agree, 0 where they agree as often as by chance; None without such a pair."""
    share: float | None
    """Chance that two voters of one pair say the same."""


def agreement(ballots: Iterable[Ballot]) -> Agreement:
    """Return the agreement on all pairs but the attention checks; raises `UserError` where `krippendorff` is not installed."""
    try:
        import krippendorff
    except ImportError as error:
        raise UserError("the report of votes needs krippendorff and matplotlib: pip install 'tonggan[arena]'.") from error
    said: dict[tuple[str, str], Counter[Choice]] = defaultdict(Counter)
    for ballot in ballots:
        if not ballot.is_check:
            said[ballot.first.id, ballot.second.id][ballot.choice] += 1
    counts = np.array([[each[choice] for choice in Choice] for each in said.values() if each.total() > 1], dtype=np.int64)
    if not len(counts):
        return Agreement(0, None, None)
    voters = counts.sum(1)
    share = float(((counts * (counts - 1)).sum(1) / (voters * (voters - 1))).mean())
    if (counts.sum(0) > 0).sum() == 1:  # all said one and the same of everything: nothing for chance to differ from
        return Agreement(len(counts), None, share)
    alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    return Agreement(len(counts), alpha if math.isfinite(alpha) else None, share)


def inattentive(ballots: Iterable[Ballot]) -> set[str]:
    """Return the voters who preferred one of two outputs that are the same in more than half of their attention checks."""
    passed: dict[str, list[bool]] = defaultdict(list)
    for ballot in ballots:
        if ballot.is_check:
            passed[ballot.voter].append(ballot.choice in (Choice.TIE, Choice.BAD))
    return {voter for voter, each in passed.items() if sum(each) < len(each) / 2}
