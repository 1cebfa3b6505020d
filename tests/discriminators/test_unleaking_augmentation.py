import math
from typing import Literal

import pytest
import torch

from tonggan.discriminators.augment import (
    Augment,
    AugmentConfig,
    Draws,
    ada,
    diffaugment,
    hue,
    luma_flip,
    recoloured,
    resampled,
    rotation,
    saturation,
    scaling,
    shift,
)


def some(count: int, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_plane_is_led_as_matrices_say() -> None:
    pictures, angle = some(2), torch.full((2,), math.pi / 2)
    torch.testing.assert_close(resampled(pictures, rotation(0 * angle), padding="zeros"), pictures)
    turned = resampled(pictures, rotation(angle), padding="zeros")
    torch.testing.assert_close(turned, torch.rot90(pictures, 1, (2, 3)), atol=1e-5, rtol=0)
    flipped = resampled(pictures, scaling(torch.full((2,), -1.0), torch.ones(2)), padding="zeros")
    torch.testing.assert_close(flipped, pictures.flip(-1), atol=1e-5, rtol=0)
    moved = resampled(pictures, shift(torch.full((2,), 2 * 2 / 16), torch.zeros(2)), padding="zeros")
    torch.testing.assert_close(moved[..., :-2], pictures[..., 2:], atol=1e-5, rtol=0)
    assert moved[..., -2:].abs().max() < 1e-5


def test_colours_are_led_as_matrices_say() -> None:
    pictures, none = some(2), torch.zeros(2)
    grey = pictures.mean(1, keepdim=True).expand_as(pictures)
    for matrix in (hue(torch.full((2,), 1.3)), saturation(torch.full((2,), 0.2))):
        torch.testing.assert_close(recoloured(grey, matrix, none), grey, atol=1e-5, rtol=0)
    torch.testing.assert_close(recoloured(pictures, saturation(none), none), grey, atol=1e-6, rtol=0)
    red_to_green = recoloured(pictures, hue(torch.full((2,), 2 * math.pi / 3)), none)
    torch.testing.assert_close(red_to_green, pictures.roll(1, dims=1), atol=1e-5, rtol=0)


def test_a_luma_flip_turns_greys_over_and_leaves_what_is_without_them() -> None:
    pictures, none = some(2), torch.zeros(2)
    grey = pictures.mean(1, keepdim=True).expand_as(pictures)
    flipped = recoloured(pictures, luma_flip(torch.tensor([1.0, 0.0])), none)
    torch.testing.assert_close(flipped[0], (pictures - 2 * grey)[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(flipped[1], pictures[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [16, 64])
def test_moves_are_by_whole_pixels_along_both_axes_or_neither(size: int) -> None:
    moves = Draws(some(400, size), 0.5, generator()).move(0.125, size)
    pixels = moves[:, :2, 2] * size / 2
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-4, rtol=0)
    assert pixels.abs().max() == size // 8
    assert 0.4 < float((pixels == 0).all(1).float().mean()) < 0.75
    board = (torch.arange(size)[:, None] + torch.arange(size)).remainder(2).mul(2.0).sub(1).expand(400, 3, size, size)
    moved = resampled(board, moves, padding="zeros")[:, :, size // 4 : -size // 4, size // 4 : -size // 4]
    assert moved.abs().min() > 0.99  # half a pixel would make grey of it


def test_as_many_pictures_are_turned_as_are_changed_otherwise() -> None:
    """At probability 0.8 a fifth is not turned at all (two turns at 0.8 each would leave a twenty-fifth)."""
    draws, turned = Draws(some(4000, 4), 0.8, generator()), 1 - 0.2**0.5
    both = torch.stack([draws.uniform(-1, 1, probability=turned) for _ in range(2)])
    assert float((both == 0).all(0).float().mean()) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("config", [AugmentConfig(kind="diffaugment"), AugmentConfig(kind="ada")])
def test_places_are_exact_in_a_half_precision_step(config: AugmentConfig) -> None:
    augment, pictures = Augment(config), some(8, 64)
    augment.probability.fill_(0.7)
    whole = augment(pictures, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = augment(pictures.bfloat16(), generator())
    assert half.dtype == torch.float32
    assert float((half - whole).abs().mean()) < 0.01


def test_gradients_pass_and_draws_are_of_the_generator_alone() -> None:
    for change in (lambda p, g: ada(p, 0.8, g), diffaugment):
        pictures = some(8).requires_grad_()
        changed = change(pictures, generator())
        assert changed.shape == pictures.shape
        changed.square().mean().backward()
        assert pictures.grad is not None
        assert (pictures.grad.flatten(1).abs().sum(1) > 0).all()
        torch.manual_seed(5)
        assert torch.equal(changed, change(pictures, generator()))
        assert not torch.equal(changed, change(pictures, generator(1)))


def test_most_pictures_stay_as_they_are_where_the_probability_is_small() -> None:
    pictures = some(200, size=8)
    changed = ada(pictures, 0.01, generator())
    same = ((changed - pictures).abs().amax((1, 2, 3)) < 1e-4).float().mean()
    # Some dozen changes, a few of which change nothing even where they are drawn.
    assert 0.8 < same < 0.99


def test_a_quarter_of_each_cut_picture_is_gone_at_most_and_nothing_else_is_flat() -> None:
    cut = (diffaugment(some(50), generator()).abs().amax(1) == 0).float().mean((1, 2))
    assert cut.max() <= 0.25 + 0.25  # and what was moved in from outside
    assert cut.min() > 0


def test_ada_follows_how_sure_the_discriminator_is() -> None:
    augment = Augment(AugmentConfig(kind="ada", samples=100, target=0.6, most=0.5))
    pictures = some(4)
    assert augment(pictures, generator()) is pictures
    for _ in range(60):
        augment.adapt(torch.ones(10))
    assert float(augment.probability) == pytest.approx(0.5)
    assert not torch.equal(augment(pictures, generator()), pictures)
    augment.adapt(torch.full((10,), float("nan")))
    assert float(augment.probability) == pytest.approx(0.5)
    for _ in range(60):
        augment.adapt(torch.tensor([1.0, -1.0]))
    assert float(augment.probability) < 0.1
    other = Augment(AugmentConfig(kind="ada"))
    other.load_state_dict(augment.state_dict())
    assert float(other.sign) == float(augment.sign)


@pytest.mark.parametrize(("kind", "share"), [("none", 0.0), ("ada", 0.0), ("diffaugment", 1.0)])
def test_what_is_told_of_the_changes_is_the_share_that_is_changed(kind: Literal["none", "ada", "diffaugment"], share: float) -> None:
    augment, pictures = Augment(AugmentConfig(kind=kind)), some(4)
    assert float(augment.probability) == share
    assert (augment(pictures, generator()) != pictures).flatten(1).any(1).float().mean() == share
    for _ in range(20):  # the sign that it goes by is a running mean
        augment.adapt(torch.ones(4))
    assert (float(augment.probability) > share) == (kind == "ada")
