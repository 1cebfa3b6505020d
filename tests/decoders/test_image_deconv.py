import pytest
import torch

from tonggan.decoders.image_deconv import ImageDeconv, ImageDeconvConfig
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.modalities.image import psnr


def test_four_pictures_are_learned_by_heart_and_stay_in_range() -> None:
    torch.manual_seed(0)
    decoder = ImageDeconv(ImageDeconvConfig(size=16, channels=16, latent_width=8))
    points = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    latent = Latent(points.unsqueeze(1), torch.ones(4, 1, dtype=torch.bool), points)
    truth = torch.nn.functional.interpolate(torch.rand(4, 3, 4, 4) * 2 - 1, size=16, mode="bilinear")
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        decoder.loss(latent, truth, randomness=torch.Generator()).total.backward()
        optimizer.step()
    with torch.no_grad():
        made = decoder.generate(latent, against=latent, seeds=[0, 1, 2, 3], settings={})
    assert made.shape == truth.shape
    assert made.abs().max() <= 1
    assert psnr(made, truth) > 25


def test_a_size_that_two_doublings_do_not_reach_is_refused() -> None:
    with pytest.raises(UserError, match="image_deconv: size 66 is not a multiple of 4"):
        ImageDeconv(ImageDeconvConfig(size=66))
