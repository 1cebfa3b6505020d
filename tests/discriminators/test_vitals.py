import math

import pytest
import torch

from tonggan.discriminators.vitals import ADVICE, REFERENCE, WARM_UP, Vitals, mean_distance

FINE = {"held_out": 1.9, "captions": 0.8, "seeds": 0.2}


def played(*, patience: int = 2, real: float = 1.0, made: float = -1.0, growth: float = 1.0) -> Vitals:
    """Vitals of a game of which enough is known; gradients become `growth` times as long after the first turns."""
    vitals = Vitals(patience=patience)
    for turn in range(WARM_UP + REFERENCE + 600):
        vitals.judged(torch.full((4,), real), torch.full((4,), made))
        for player in range(2):
            vitals.moved(player, 0.3 * (growth if turn > WARM_UP + REFERENCE else 1.0))
    return vitals


def looks(vitals: Vitals, **found: float) -> list[str | None]:
    told = []
    for _ in range(3):
        figures = vitals.figures(**(FINE | found))  # type: ignore[arg-type]
        told.append(vitals.trouble(figures))
    return told


def test_a_game_that_goes_well_goes_on() -> None:
    assert looks(played()) == [None, None, None]


@pytest.mark.parametrize(
    ("trouble", "found", "game"),
    [
        ("captions", {"captions": 0.01}, {}),
        ("seeds", {"seeds": 0.001}, {}),
        ("exploding", {}, {"growth": 1e5}),
        ("vanishing", {}, {"growth": 1e-5}),
        ("vanishing", {}, {"growth": 0.0}),
        ("memorising", {"held_out": 0.05}, {}),
        ("memorising", {"held_out": 0.05}, {"real": 7.0, "made": 5.0}),  # a level that drifts changes nothing
    ],
)
def test_each_trouble_is_told_where_it_stays(trouble: str, found: dict[str, float], game: dict[str, float]) -> None:
    assert looks(played(**game), **found) == [None, ADVICE[trouble], ADVICE[trouble]]
    assert looks(played(patience=0, **game), **found) == [None, None, None]  # type: ignore[arg-type]
    assert looks(Vitals(patience=2), **found) == [None, None, None]  # too early to tell


def test_a_discriminator_that_rests_is_no_trouble_and_a_generator_that_learns_nothing_is() -> None:
    for player, told in ((1, None), (0, ADVICE["vanishing"])):
        vitals = played()
        for turn in range(400):
            vitals.moved(player, 0.0 if turn % 4 else 0.3)
        assert looks(vitals)[1] == told


def test_one_player_that_rests_from_the_first_turn_on_does_not_hide_the_rest() -> None:
    for norms, found, told in (((0.3, 0.0), {"captions": 0.0}, "captions"), ((0.0, 0.3), {}, "vanishing")):
        vitals = Vitals(patience=2)
        for _ in range(WARM_UP + REFERENCE + 1):
            vitals.judged(torch.ones(4), -torch.ones(4))
            for player, norm in enumerate(norms):
                vitals.moved(player, norm)
        assert looks(vitals, **found)[1] == ADVICE[told]


def test_a_discriminator_that_knows_nothing_is_told_unless_it_knows_captions_or_nobody_asks() -> None:
    real, made = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    for other, told in ((made, ADVICE["idle"]), (real - 1, None), (None, None), (torch.full((4,), math.nan), None)):
        vitals = Vitals(patience=2)
        for _ in range(WARM_UP + REFERENCE + 1):
            vitals.judged(real, made, other)
            for player in range(2):
                vitals.moved(player, 0.3)
        assert vitals.figures(**FINE)["told_apart"] == pytest.approx(0.5)  # type: ignore[arg-type]
        assert looks(vitals)[1] == told


def test_one_look_suspects_before_several_tell() -> None:
    vitals = played()
    assert not vitals.suspected
    for captions, suspected in ((0.9, False), (0.01, True), (0.9, False)):
        vitals.trouble(vitals.figures(**(FINE | {"captions": captions})))  # type: ignore[arg-type]
        assert vitals.suspected is suspected


def test_what_passes_is_no_trouble() -> None:
    vitals = played()
    bad, good = ({**vitals.figures(**FINE), "diversity_captions": value} for value in (0.0, 0.9))
    assert [vitals.trouble(each) for each in (bad, good, bad, good, bad)] == [None] * 5
    assert vitals.trouble(bad) == ADVICE["captions"]


def test_figures() -> None:
    vitals = played(real=2.0, made=-2.0, growth=10.0)
    vitals.moved(0, math.nan)
    figures = vitals.figures(held_out=2.0, captions=0.5, seeds=None)
    assert figures["margin"] == pytest.approx(4.0)
    assert figures["memorised"] == pytest.approx(0.5)
    assert figures["told_apart"] == 1.0
    assert figures["generator_gradient_growth"] == pytest.approx(10.0, rel=1e-3)
    assert "diversity_seeds" not in figures


def test_all_is_in_the_state() -> None:
    vitals, other = played(patience=2), Vitals(patience=2)
    first = looks(vitals, captions=0.0)[0]
    other.load_state_dict(vitals.state_dict())
    assert first is None
    assert looks(other, captions=0.0)[0] == ADVICE["captions"]


def test_the_mean_distance_of_pairs() -> None:
    outputs = torch.tensor([0.0, 1.0, 3.0])[:, None, None].expand(3, 2, 2)
    assert mean_distance(outputs) == pytest.approx((1 + 2 + 3) / 3)
    assert mean_distance(outputs[:1]) == 0
