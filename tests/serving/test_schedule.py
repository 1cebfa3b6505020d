from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from tonggan.serving.schedule import BLOCK, ForgedTicketError, Schedule

PAIRS = [(f"{i:02d}-b", f"{i:02d}-a") for i in range(40)]
SECRET = b"secret"


def test_every_pair_comes_once_and_checks_between() -> None:
    rounds = Schedule(PAIRS, SECRET).rounds("one")
    pairs = [(each.first, each.second) for each in rounds]
    assert len(set(pairs)) == len(pairs)
    real = [pair for pair in pairs if pair[0] != pair[1]]
    assert sorted(real) == sorted((min(pair), max(pair)) for pair in PAIRS)
    checks = [place for place, pair in enumerate(pairs) if pair[0] == pair[1]]
    assert len(checks) == 5 == -(-len(PAIRS) // BLOCK)
    assert checks[0] > 0
    assert all(after - before < 2 * BLOCK + 2 for before, after in pairwise(checks))


def test_an_order_is_stable_and_a_voter_s_own() -> None:
    one = Schedule(PAIRS, SECRET).rounds("one")
    assert Schedule(list(reversed(PAIRS)), SECRET).rounds("one") == one
    assert Schedule(PAIRS, SECRET).rounds("two") != one
    assert Schedule(PAIRS, b"other").rounds("one") != one


def test_sides_are_random() -> None:
    schedule = Schedule(PAIRS, SECRET)
    on_the_left = Counter(each.left == each.first for i in range(50) for each in schedule.rounds(f"voter {i}") if each.first != each.second)
    assert on_the_left.total() == 2000
    assert abs(on_the_left[True] - 1000) < 4 * (2000 * 0.25) ** 0.5  # four standard deviations
    round_ = schedule.rounds("one")[0]
    assert {round_.left, round_.right} == {round_.first, round_.second}


def test_tickets_stand_for_a_round_of_one_voter() -> None:
    schedule = Schedule(PAIRS, SECRET)
    for place, asked in enumerate(schedule.rounds("one")):
        ticket = schedule.ticket("one", place)
        assert schedule.redeem("one", ticket) == asked
        assert asked.first not in ticket
        assert asked.second not in ticket


@pytest.mark.parametrize(
    "forge", [lambda t: "1" + t[1:], lambda t: t[:-1] + "!", lambda t: t + "0", lambda t: t[2:], lambda t: "", lambda t: "-1" + t[1:]]
)
def test_forged_tickets_are_refused(forge: Callable[[str], str]) -> None:
    schedule = Schedule(PAIRS, SECRET)
    ticket = schedule.ticket("one", 0)
    with pytest.raises(ForgedTicketError):
        schedule.redeem("one", forge(ticket))


def test_tickets_of_others_and_of_other_arenas_are_refused() -> None:
    schedule = Schedule(PAIRS, SECRET)
    for voter, other in (("two", schedule), ("one", Schedule(PAIRS, b"other")), ("one", Schedule(PAIRS[:20], SECRET))):
        refused = 0
        for place, asked in enumerate(schedule.rounds("one")):
            try:
                assert other.redeem(voter, schedule.ticket("one", place)) == asked  # in the smaller arena a round may stand where it stood
            except ForgedTicketError:
                refused += 1
        assert refused > 40


@pytest.mark.parametrize("rubbish", ["999999999999999999999-0", "²-0", "0-\ud800", "40-" + "0" * 32, "0" * 64])
def test_rubbish_is_refused(rubbish: str) -> None:
    with pytest.raises(ForgedTicketError):
        Schedule(PAIRS, SECRET).redeem("one", rubbish)
