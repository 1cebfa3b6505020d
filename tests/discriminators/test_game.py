from dataclasses import replace

import pytest
import torch

from tonggan.decoders.image_deconv import ImageDeconv, ImageDeconvConfig
from tonggan.discriminators.game import FEW_LOOKED_AT, AdversarialConfig, Game
from tonggan.discriminators.image import ImageDiscriminator, ImageDiscriminatorConfig
from tonggan.discriminators.vitals import REFERENCE, WARM_UP
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Played

SMALL = ImageDiscriminatorConfig(channels=8, max_channels=16, heads=2)


def some(rows: int, seed: int = 0) -> Latent:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(rows, 3, 8, generator=generator)
    return Latent(tokens, torch.ones(rows, 3, dtype=torch.bool), torch.nn.functional.normalize(tokens.mean(1), dim=-1))


def pictures(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def decoder() -> ImageDeconv:
    torch.manual_seed(0)
    return ImageDeconv(ImageDeconvConfig(size=16, channels=16, latent_width=8))


def game(**settings: object) -> Game:
    torch.manual_seed(0)
    config = AdversarialConfig(discriminator=SMALL, **settings)  # type: ignore[arg-type]
    return Game(config, ImageDiscriminator(SMALL, size=16, latent_width=8))


def play(played: Game, decoder: ImageDeconv, *, seed: int = 0, rows: torch.Tensor | None = None) -> tuple[LossTerms, LossTerms]:
    latent, real, randomness = some(4), pictures(4), torch.Generator().manual_seed(seed)
    rows = torch.arange(4) if rows is None else rows
    challenge = played.challenge(decoder.play(latent, real, randomness=randomness), latent, real, rows=rows, randomness=randomness)
    return challenge, played.turn(randomness)


def test_a_verdict_is_on_picture_tokens_and_point() -> None:
    torch.manual_seed(0)
    judge = ImageDiscriminator(SMALL, size=16, latent_width=8)
    torch.nn.init.normal_(judge.reading.out.weight)

    def verdicts(shown: torch.Tensor, latent: Latent) -> torch.Tensor:
        return judge(shown, latent)[0]

    shown, latent = pictures(4), some(4)
    found = verdicts(shown, latent)
    assert found.shape == (4,)
    other = some(4, seed=1)
    for changed in (replace(latent, tokens=other.tokens), replace(latent, pooled=other.pooled)):
        assert ((verdicts(shown, changed) - found).abs() > 1e-6).all()
    masked = replace(latent, mask=torch.tensor([True, True, False]).repeat(4, 1))
    spoiled = masked.tokens.clone()
    spoiled[:, 2] = 100.0
    torch.testing.assert_close(verdicts(shown, replace(masked, tokens=spoiled)), verdicts(shown, masked))
    torch.testing.assert_close(verdicts(shown[2:3], latent.rows(torch.tensor([2]))), found[2:3])
    with pytest.raises(UserError, match="48 pixels cannot be judged"):
        ImageDiscriminator(SMALL, size=48, latent_width=8)


@pytest.mark.parametrize("loss", ["relativistic", "non_saturating", "hinge"])
def test_each_turn_moves_one_player(loss: str, decoder: ImageDeconv) -> None:
    played = game(loss=loss)
    challenge, turn = play(played, decoder)
    challenge.total.backward()
    assert all(parameter.grad is None for parameter in played.parameters())
    moved = {name for name, parameter in decoder.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert moved == {name for name, _ in decoder.named_parameters()}
    decoder.zero_grad()
    turn.total.backward()
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in played.parameters())
    assert set(challenge.terms) == {"mean_square", "adversarial"}


def test_matching_draws_to_what_is_seen_of_the_real_output_under_the_same_changes(decoder: ImageDeconv) -> None:
    played, latent, real = game(matching=0.5, augment={"kind": "diffaugment"}), some(4), pictures(4)

    def challenged(made: torch.Tensor) -> LossTerms:
        return played.challenge(Played(made, LossTerms({})), latent, real, rows=torch.arange(4), randomness=torch.Generator().manual_seed(0))

    assert challenged(real).terms["matching"].item() == pytest.approx(0, abs=1e-6)
    near, far = (challenged(real + distance * pictures(4, seed=1)) for distance in (0.1, 0.5))
    assert 0 < near.terms["matching"] < far.terms["matching"]
    assert far.weights["matching"] == 0.5
    assert "matching" not in play(game(), decoder)[0].terms
    challenge = play(played, decoder)[0]
    challenge.terms["matching"].backward()
    assert all(parameter.grad is None for parameter in played.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in decoder.parameters())


def test_slopes_are_looked_at_every_few_turns_and_weigh_as_much_in_all(decoder: ImageDeconv) -> None:
    played = game(penalty=3.0, penalty_every=3)
    turns = [play(played, decoder)[1] for _ in range(5)]
    assert ["r1" in turn.terms for turn in turns] == [True, False, False, True, False]
    assert turns[0].weights["r1"] == turns[0].weights["r2"] == 3.0 / 2 * 3
    assert "r1" not in play(game(penalty=0.0), decoder)[1].terms


def test_a_latent_of_the_same_row_is_no_mismatch(decoder: ImageDeconv) -> None:
    same = play(game(), decoder, rows=torch.zeros(4, dtype=torch.long))[1]
    assert same.terms["mismatched"].item() == 0
    assert play(game(), decoder)[1].terms["mismatched"].item() > 0


def test_the_discriminator_learns_to_tell_and_generator_to_be_taken_for_real(decoder: ImageDeconv) -> None:
    played = game(penalty=0.05, mismatched=0.0, weight=1.0)
    ours = torch.optim.Adam(played.parameters(), lr=3e-3)
    margins = []
    for step in range(60):
        turn = play(played, decoder, seed=step)[1]
        ours.zero_grad()
        turn.total.backward()
        ours.step()
        margins.append(float(turn.terms["margin"]))
    assert margins[-1] > margins[0] + 0.5
    theirs = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    losses = []
    for step in range(30):
        challenge = play(played, decoder, seed=step)[0]
        theirs.zero_grad()
        challenge.terms["adversarial"].backward()
        theirs.step()
        losses.append(challenge.terms["adversarial"].item())
    assert losses[-1] < losses[0] - 0.3


def test_a_look_measures_differences_against_real_ones(decoder: ImageDeconv) -> None:
    played, latent, real = game(), some(6), pictures(6)
    same = real[:1].expand(6, -1, -1, -1)
    found = played.look(real, latent, torch.stack([same, same]), seeded=True)
    assert found.figures["diversity_captions"] == pytest.approx(0, abs=1e-6)
    assert found.figures["diversity_seeds"] == pytest.approx(0, abs=1e-6)
    whole = played.look(real, latent, torch.stack([real, real.roll(1, 0)]), seeded=True).figures
    assert whole["diversity_captions"] == pytest.approx(1)
    assert 0.7 < whole["diversity_seeds"] < 1.3
    assert "diversity_seeds" not in played.look(real, latent, real[None], seeded=False).figures


def test_seeds_that_are_alike_are_no_trouble_where_outputs_are_matched() -> None:
    latent, real = some(6), pictures(6)
    for matching, suspected in ((0.0, True), (1.0, False)):
        played = game(matching=matching)
        for _ in range(WARM_UP + REFERENCE):
            for player in range(2):
                played.vitals.moved(player, 0.3)
        found = played.look(real, latent, torch.stack([real, real]), seeded=True)
        assert found.figures["diversity_seeds"] == pytest.approx(0, abs=1e-6)
        assert found.suspected == suspected


@pytest.mark.parametrize(("rows", "suspected"), [(FEW_LOOKED_AT, True), (FEW_LOOKED_AT - 1, False)])
def test_few_rows_do_not_say_that_the_others_are_known_by_heart(rows: int, suspected: bool) -> None:
    played, real = game(), pictures(rows)
    for _ in range(WARM_UP + REFERENCE):
        played.vitals.judged(torch.full((4,), 5.0), torch.full((4,), -5.0))
        for player in range(2):
            played.vitals.moved(player, 0.3)
    found = played.look(real, some(rows), torch.stack([real, real.roll(1, 0)]), seeded=True)
    assert found.figures["memorised"] == pytest.approx(1)
    assert found.suspected == suspected
