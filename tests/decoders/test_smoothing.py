import math

import torch

from tonggan.decoders.smoothing import AT_ONCE, bilateral


def by_the_equation(picture: torch.Tensor, spread: float, radius: int) -> torch.Tensor:
    """One pass over (channels, height, width), a pixel at a time; pixels outside are those of the border."""
    _, height, width = picture.shape
    made = torch.empty_like(picture)
    for y in range(height):
        for x in range(width):
            total, weights = torch.zeros(len(picture)), 0.0
            for down in range(-radius, radius + 1):
                for right in range(-radius, radius + 1):
                    neighbour = picture[:, min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)]
                    colour = (neighbour - picture[:, y, x]).square().sum().item()
                    weight = math.exp(-colour / (2 * spread**2) - (down**2 + right**2) / (2 * radius**2))
                    total, weights = total + weight * neighbour, weights + weight
            made[:, y, x] = total / weights
    return made


def test_every_pixel_is_the_mean_that_the_equation_says() -> None:
    pictures = 0.3 * torch.randn(AT_ONCE + 1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    smooth = bilateral(pictures, 0.2, radius=2, passes=2)
    for row in (0, AT_ONCE):
        torch.testing.assert_close(smooth[row], by_the_equation(by_the_equation(pictures[row], 0.2, 2), 0.2, 2), atol=1e-6, rtol=1e-5)
