import math

import choix
import numpy as np
import pytest

from tonggan.evaluation.intervals import share_interval
from tonggan.feedback.ranking import ELO, Comparison, bradley_terry, rank, sign_test, votes_needed
from tonggan.feedback.tables import Choice


def ballots(outcomes: str, first: str = "a", second: str = "b", *, prompts: int | None = None) -> list[Comparison]:
    """One comparison a letter: w(on), l(ost), t(ie), b(ad); over so many prompts, by default one each."""
    choices = {"w": Choice.FIRST, "l": Choice.SECOND, "t": Choice.TIE, "b": Choice.BAD}
    return [Comparison(f"prompt {i % (prompts or len(outcomes))}", first, second, choices[each]) for i, each in enumerate(outcomes)]


def test_of_two_models_the_strengths_are_the_odds() -> None:
    found = rank(ballots("wwwl"))
    assert found.standings[0].model == "a"
    apart = found.standings[0].strength.value - found.standings[1].strength.value
    assert apart == pytest.approx(ELO * math.log(3.5 / 1.5))
    assert bradley_terry(np.array([[0, 30.0], [3.0, 0]]), prior_wins=0) @ [1, -1] == pytest.approx(math.log(10))


def test_strengths_are_those_of_choix() -> None:
    wins = np.array([[0, 7, 9, 4], [3, 0, 6, 5], [1, 4, 0, 8], [6, 5, 2, 0]], dtype=float)
    pairs = [(i, j) for i in range(4) for j in range(4) for _ in range(int(wins[i, j]))]
    theirs = choix.ilsr_pairwise(4, pairs, alpha=0.0)
    np.testing.assert_allclose(bradley_terry(wins, prior_wins=0), theirs - theirs.mean(), atol=1e-6)
    both = bradley_terry(np.stack([wins, wins.T]), prior_wins=0)
    np.testing.assert_allclose(both, [bradley_terry(wins, prior_wins=0), bradley_terry(wins.T, prior_wins=0)], atol=1e-7)


def test_who_has_never_lost_is_finite_and_third_models_link() -> None:
    found = rank(ballots("w" * 12) + ballots("w" * 12, "b", "c"))
    assert [each.model for each in found.standings] == ["a", "b", "c"]
    assert all(math.isfinite(each.strength.high) for each in found.standings)
    assert [(duel.first, duel.second) for duel in found.duels] == [("a", "b"), ("b", "c")]


def test_names_and_sides_do_not_matter() -> None:
    turned = [Comparison(each.prompt, "b", "a", Choice.SECOND if each.choice == Choice.FIRST else Choice.FIRST) for each in ballots("wwlwwl")]
    assert rank(turned) == rank(ballots("wwlwwl"))


def test_a_tie_is_half_a_win_for_both() -> None:
    duel = rank(ballots("wtbl")).duels[0]
    assert (duel.votes, duel.wins, duel.losses, duel.ties, duel.bad, duel.share.value) == (4, 1, 1, 1, 1, 0.5)
    assert duel.votes_needed is None


def test_votes_on_one_prompt_say_less_than_votes_on_many() -> None:
    many = rank(ballots("wwwl" * 30)).duels[0]
    crowded = rank([*ballots("w" * 90, prompts=3), *(Comparison("other", each.first, each.second, each.choice) for each in ballots("l" * 30))]).duels[
        0
    ]
    assert many.share.value == crowded.share.value == 0.75
    assert many.told_apart
    assert not crowded.told_apart
    assert crowded.share.high - crowded.share.low > 3 * (many.share.high - many.share.low)
    assert crowded.votes_needed > 5 * many.votes_needed


@pytest.mark.parametrize(("prompts", "apart"), [(1, False), (5, False), (6, True)])
def test_a_few_prompts_that_agree_decide_nothing(prompts: int, apart: bool) -> None:
    duel = rank(ballots("w" * prompts)).duels[0]
    assert duel.told_apart == apart  # 2 / 2**5 is more than one in twenty, 2 / 2**6 less
    assert duel.share == share_interval([1.0] * prompts)
    assert duel.share.low < 1 - 1 / (prompts + 2)
    many_votes = rank(ballots("w" * 40, prompts=prompts)).duels[0]
    assert (many_votes.told_apart, many_votes.share) == (apart, duel.share)  # all of them on the same few prompts


def test_the_sign_test_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for won, lost, even in ((1, 0, 0), (0, 7, 2), (9, 3, 4), (5, 5, 0), (12, 30, 1)):
        wins = np.array([[2, 1]] * won + [[0, 0.5]] * lost + [[1, 1]] * even)
        assert sign_test(wins) == pytest.approx(stats.binomtest(won, won + lost).pvalue)
    assert sign_test(np.array([[1.0, 1.0]])) == 1.0


def test_the_intervals_hold_what_they_promise() -> None:
    truth, held, randomness = 0.65, 0, np.random.default_rng(0)
    for _ in range(100):
        drawn = "".join("w" if win else "l" for win in randomness.random(80) < truth)
        duel = rank(ballots(drawn), resamples=300).duels[0]
        held += duel.share.low <= truth <= duel.share.high
    assert 88 <= held <= 100


@pytest.mark.parametrize(("share", "votes"), [(0.55, 783), (0.60, 194), (0.70, 47), (0.45, 783), (0.5, None)])
def test_how_many_votes_tell_a_share_from_even(share: float, votes: int | None) -> None:
    assert votes_needed(share) == votes
