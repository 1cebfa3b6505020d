"""Convolutional blocks that encoders and decoders share."""

from torch import Tensor, nn


def norm_groups(channels: int) -> int:
    """Return how many groups to normalise `channels` in: as many as divide them, of 16 channels or more each, 32 at the most."""
    most = max(1, min(32, channels // 16))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip, with an optional condition that scales and shifts between them (ADM, arXiv:2105.05233).

    Without `normalised` it has no norms, as discriminators want it (R3GAN, arXiv:2501.05441, section 4).
    """

    def __init__(self, channels_in: int, channels: int, *, condition_width: int | None = None, normalised: bool = True) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(norm_groups(channels_in), channels_in) if normalised else nn.Identity()
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.norm_out = nn.GroupNorm(norm_groups(channels), channels) if normalised else nn.Identity()
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.modulate = nn.Linear(condition_width, 2 * channels) if condition_width else None
        self.activate = nn.SiLU()
        nn.init.zeros_(self.conv_out.weight)
        if self.conv_out.bias is not None:
            nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, channels_in, height, width), condition (batch, condition_width) -> (batch, channels, height, width)."""
        hidden = self.norm_out(self.conv_in(self.activate(self.norm_in(x))))
        if self.modulate is not None:
            assert condition is not None
            scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        return self.skip(x) + self.conv_out(self.activate(hidden))
