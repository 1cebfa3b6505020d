from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tonggan.decoders.image_stylegan import ImageStylegan, ImageStyleganConfig, ModulatedConvolution
from tonggan.errors import UserError
from tonggan.latent.record import Latent, References

SMALL = ImageStyleganConfig(size=32, latent_width=8, noise_width=4, style_width=16, mapping_layers=2, channels=8, max_channels=16, heads=2)


def some(rows: int, seed: int = 0) -> Latent:
    tokens = torch.randn(rows, 3, 8, generator=torch.Generator().manual_seed(seed))
    return Latent(tokens, torch.ones(rows, 3, dtype=torch.bool), F.normalize(tokens.mean(1), dim=-1))


@pytest.fixture
def decoder() -> ImageStylegan:
    torch.manual_seed(0)
    made = ImageStylegan(SMALL)
    for parameter in made.parameters():
        if not parameter.any():  # strengths of noise and what is read start at zero
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def draw(decoder: ImageStylegan, latent: Latent, seeds: list[int], **settings: object) -> torch.Tensor:
    return decoder.generate(latent, against=latent, seeds=seeds, settings=decoder.default_settings() | settings)


def test_a_modulated_convolution_is_one_with_weights_of_every_row() -> None:
    torch.manual_seed(0)
    layer = ModulatedConvolution(4, 6, 3, style_width=5)
    x, style = torch.randn(3, 4, 8, 8), torch.randn(3, 5)
    scaled = layer.weight * layer.style(style)[:, None, :, None, None]  # equation 1
    weights = scaled * torch.rsqrt(scaled.square().sum((2, 3, 4), keepdim=True) + 1e-8)  # equation 3
    expected = torch.stack([F.conv2d(row[None], weight, padding=1)[0] for row, weight in zip(x, weights, strict=True)])
    torch.testing.assert_close(layer(x, style), expected)
    wide = ModulatedConvolution(32, 32, 3, style_width=5)(torch.randn(4, 32, 16, 16), torch.randn(4, 5) * 10)
    assert 0.8 < float(wide[..., 1:-1, 1:-1].std()) < 1.2


def test_a_picture_is_of_its_seed_and_latent_alone(decoder: ImageStylegan) -> None:
    latent = some(3)
    made = draw(decoder, latent, [5, 6, 7])
    assert made.shape == (3, 3, 32, 32)
    assert made.abs().max() <= 1
    torch.testing.assert_close(draw(decoder, latent.rows(torch.tensor([1])), [6]), made[1:2], atol=1e-5, rtol=1e-5)
    assert (draw(decoder, latent, [5, 6, 8])[2] - made[2]).abs().max() > 1e-3
    tokens = Latent(some(3, seed=1).tokens, latent.mask, latent.pooled)
    assert (draw(decoder, tokens, [5, 6, 7]) - made).abs().max() > 1e-3


def test_truncation_leads_to_the_mean_of_the_caption(decoder: ImageStylegan) -> None:
    for layer in decoder.layers:
        torch.nn.init.zeros_(layer.strength)
    latent = some(2)

    def spread(truncation: float) -> float:
        pictures = torch.stack([draw(decoder, latent, [seed, seed + 50], truncation=truncation) for seed in range(6)])
        return float(pictures.std(0).mean())

    none, half, whole = (spread(truncation) for truncation in (0.0, 0.5, 1.0))
    assert none < 1e-6 < half < whole
    centre = draw(decoder, latent, [0, 1], truncation=0.0)
    assert (centre[0] - centre[1]).abs().max() > 1e-3  # captions stay apart
    for wrong in (-0.1, 1.5):
        with pytest.raises(UserError, match=r"truncation: .*than or equal to"):
            decoder.settings_with({"truncation": wrong})


def test_what_is_recalled_is_looked_at() -> None:
    torch.manual_seed(0)
    decoder = ImageStylegan(SMALL.model_copy(update={"references": 2}))
    recalled = References(torch.rand(3, 2, 3, 32, 32) * 2 - 1, torch.ones(3, 2, dtype=torch.bool))
    bare = some(3)
    latent = replace(bare, references=recalled)
    made, seeds = draw(decoder, latent, [5, 6, 7]), [5, 6, 7]
    for other in (replace(latent, references=recalled.first(1)), bare):
        assert ((draw(decoder, other, seeds) - made).abs().amax((1, 2, 3)) > 1e-3).all()
    torch.testing.assert_close(draw(decoder, latent, seeds, references=1), draw(decoder, replace(latent, references=recalled.first(1)), seeds))
    torch.testing.assert_close(draw(decoder, latent.rows(torch.tensor([1])), [6]), made[1:2], atol=1e-5, rtol=1e-5)
    moved = recalled.values.clone()
    moved[0, 1, :, 20:, 20:] = 1.0
    changed = (draw(decoder, replace(latent, references=replace(recalled, values=moved)), seeds) - made).abs().amax(1)
    assert changed[0, 20:, 20:].mean() > 2 * changed[0, :12, :12].mean()  # seen where it is
    assert not changed[1:].any()


def test_layers_can_have_seeds_of_their_own(decoder: ImageStylegan) -> None:
    latent, layers = some(2), len(decoder.layers)
    assert layers == 7
    made, others = draw(decoder, latent, [1, 2]), draw(decoder, latent, [9, 9])
    torch.testing.assert_close(draw(decoder, latent, [1, 2], layer_seeds=[9] * layers), others, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(draw(decoder, latent, [1, 2], layer_seeds=[None] * layers), made)
    fine = draw(decoder, latent, [1, 2], layer_seeds=[*[None] * (layers - 1), 9])
    coarse = draw(decoder, latent, [1, 2], layer_seeds=[9])
    assert 0 < (fine - made).abs().mean() < (others - made).abs().mean()
    assert (coarse - made).abs().max() > 1e-3
    with pytest.raises(UserError, match="8 layer_seeds given; this decoder has 7 layers"):
        draw(decoder, latent, [1, 2], layer_seeds=[0] * 8)
    for wrong in (5, None, ["-"], [2**64], "77", [1.7], [-1], [True]):
        with pytest.raises(UserError, match=r"layer_seeds is .*: give a list of seeds"):
            draw(decoder, latent, [1, 2], layer_seeds=wrong)


def test_what_is_played_has_gradients_and_mixes_styles(decoder: ImageStylegan) -> None:
    latent, target = some(4), torch.zeros(4, 3, 32, 32)

    def play(mixing: float) -> torch.Tensor:
        decoder.config = SMALL.model_copy(update={"style_mixing": mixing})
        return decoder.play(latent, target, randomness=torch.Generator().manual_seed(3)).made

    never, always = play(0.0), play(1.0)
    assert ((never - always).flatten(1).abs().amax(1) > 1e-4).all()
    always.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in decoder.parameters())


def test_path_lengths_come_to_be_alike(decoder: ImageStylegan) -> None:
    decoder.config = SMALL.model_copy(update={"path_length": 1.0, "path_length_every": 1})
    latent, target = some(8), torch.zeros(8, 3, 32, 32)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    found = []
    for step in range(25):
        terms = decoder.play(latent, target, randomness=torch.Generator().manual_seed(step)).own
        assert set(terms.terms) == {"path_length"}
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        found.append(float(terms.total) / float(decoder.path_mean) ** 2)
    assert sum(found[-5:]) < 0.7 * sum(found[:5])
    decoder.config = SMALL.model_copy(update={"path_length": 1.0, "path_length_every": 4})
    drawn = [bool(decoder.play(latent, target, randomness=torch.Generator().manual_seed(step)).own.terms) for step in range(40)]
    assert 3 <= sum(drawn) <= 20


@pytest.mark.parametrize("size", [64, 128, 256])
def test_sizes(size: int) -> None:
    torch.manual_seed(0)
    config = SMALL.model_copy(update={"size": size, "channels": 2, "max_channels": 8})
    assert draw(ImageStylegan(config), some(1), [0]).shape == (1, 3, size, size)
    with pytest.raises(UserError, match="size 96 is not 16, 32, 64"):
        ImageStylegan(SMALL.model_copy(update={"size": 96}))


def test_it_cannot_start_from_a_picture(decoder: ImageStylegan) -> None:
    with pytest.raises(UserError, match="cannot start from a picture"):
        decoder.generate(some(1), against=some(1), seeds=[0], settings=decoder.default_settings(), start=torch.zeros(1, 3, 32, 32))
