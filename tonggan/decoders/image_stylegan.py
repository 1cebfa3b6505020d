"""A picture in one pass: StyleGAN2's generator (Karras et al. 2020, arXiv:1912.04958), which also reads the latent's tokens.

(latent's point, noise) -> mapping -> a style for every layer; constant (c, 4, 4) -> modulated convolutions at 4, 8, 16 (cells read the tokens), ... up to the size;
at every size colours are added to those of the size before. What the memory recalls is seen at every size by strided convolutions and added, as the encoder of
co-modulated GANs adds the picture that is completed (Zhao et al. 2021, arXiv:2103.10428). It has no loss of its own: a discriminator teaches it
(`objectives.adversarial`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.decoders.flow_sampling import seeded_noise
from tonggan.errors import UserError
from tonggan.latent.record import Latent, References
from tonggan.layers.reading import Reading
from tonggan.layers.transformer import twice_differentiable
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, PartConfig, Played
from tonggan.strict import LARGEST_SEED, Count, CountOrZero, NotNegative, Share

FIRST_SIZE, READING_SIZE = 4, 16
SLOPE = 0.2
CENTRE_SEEDS = 32
"""Styles that the centre which truncation leads to is the mean of."""
PATH_DECAY = 0.01
PATH_SHARE = 2
"""Path lengths are measured on one row of so many."""


class ImageStyleganConfig(PartConfig):
    """Settings of `ImageStylegan`."""

    kind: Literal["image_stylegan"] = "image_stylegan"
    size: Count = 64
    latent_width: Count = 320
    noise_width: Count = 128
    style_width: Count = 256
    mapping_layers: Count = 3
    channels: Count = 32
    """Channels at the full size; twice as many at each half of it, up to `max_channels`."""
    max_channels: Count = 256
    heads: Count = 4
    style_mixing: Share = 0.5
    """Share of the pictures in training whose later layers have the style of another noise (StyleGAN, arXiv:1812.04948, section 3.1)."""
    references: CountOrZero = 0
    """Outputs that the memory recalls for a caption (of other rows, in training), which are looked at; 0 for none."""
    truncation: Share = 1.0
    """How far styles keep from the mean of those that the caption has: 1 as they are, 0 all the same."""
    path_length: NotNegative = 0.0
    """Weight of path-length regularisation (StyleGAN2, equation 4); 0 for none."""
    path_length_every: Count = 8
    """It is computed in one step of so many, drawn by chance, that many times as heavy."""


@dataclass(frozen=True)
class Noise:
    """What one seed draws, a row each: `point` (batch, noise_width) for the mapping, `maps` (batch, 1, size, size) for every layer."""

    point: Tensor
    maps: list[Tensor]


class ModulatedConvolution(nn.Module):
    """Convolution whose weights are scaled by a style and brought back to unit length (StyleGAN2, equations 1 and 3).

    Scaling what goes in and what comes out is the same as scaling the weights of every row, and needs no weights a row.
    """

    def __init__(self, before: int, after: int, kernel: int, *, style_width: int, demodulated: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel) * gain / (before * kernel**2) ** 0.5)
        self.style = nn.Linear(style_width, before)
        nn.init.ones_(self.style.bias)
        self.demodulated = demodulated

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (batch, before, height, width), style (batch, style_width) -> (batch, after, height, width)."""
        scale = self.style(style)
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if not self.demodulated:
            return y
        lengths = F.linear(scale.square(), self.weight.square().sum((2, 3))).float()
        return y * torch.rsqrt(lengths + 1e-8)[:, :, None, None].to(y.dtype)


class StyledLayer(nn.Module):
    """A modulated convolution, noise of learned strength, bias, leaky ReLU; twice the size first where it `grows`."""

    def __init__(self, before: int, after: int, *, style_width: int, grows: bool) -> None:
        super().__init__()
        self.grows = grows
        self.convolution = ModulatedConvolution(before, after, 3, style_width=style_width)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(after, 1, 1))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """x (batch, before, h, w), style (batch, style_width), noise (batch, 1, H, W) -> (batch, after, H, W)."""
        y = self.convolution(doubled(x) if self.grows else x, style)
        return F.leaky_relu(y + self.strength * noise + self.bias, SLOPE) * 2**0.5


def doubled(x: Tensor) -> Tensor:
    """Return a map of twice the size, bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyleMapping(nn.Module):
    """(latent's scaled point, noise) -> style."""

    def __init__(self, config: ImageStyleganConfig) -> None:
        super().__init__()
        self.point = nn.Linear(config.latent_width, config.style_width)
        widths = [config.noise_width + config.style_width] + [config.style_width] * config.mapping_layers
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, point: Tensor, noise: Tensor) -> Tensor:
        """point (batch, latent_width), noise (batch, noise_width) -> (batch, style_width)."""
        x = torch.cat([normalised(noise), normalised(self.point(point))], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * 2**0.5
        return x


def normalised(x: Tensor) -> Tensor:
    """Return x (batch, width) with a mean square of one a row."""
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-8).to(x.dtype)


class ReferenceMaps(nn.Module):
    """What is recalled -> maps at every size of the generator.

    Which reference is which is told by the place of its channels; one that is not there is grey, and its plane of "is there" zero.
    """

    def __init__(self, references: int, widths: Sequence[int]) -> None:
        super().__init__()
        fine_to_coarse = list(widths)[::-1]
        self.begin = nn.Conv2d(4 * references, fine_to_coarse[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairwise(fine_to_coarse))

    def forward(self, recalled: References) -> list[Tensor]:
        """Return maps (batch, channels, side, side), one for each size, the coarsest first."""
        pictures = recalled.values.flatten(1, 2)
        present = recalled.present.to(pictures.dtype)[:, :, None, None].expand(-1, -1, *pictures.shape[2:])
        found = [self.begin(torch.cat([pictures, present], dim=1).contiguous(memory_format=torch.channels_last))]
        for layer in self.down:
            found.append(layer(F.leaky_relu(found[-1], SLOPE)))
        return found[::-1]


class ImageStylegan(Decoder[ImageStyleganConfig]):
    """`Latent` and noise -> pictures (batch, 3, size, size) in [-1, 1]."""

    modality = "image"
    Config = ImageStyleganConfig
    lossless = True
    path_mean: Tensor

    def __init__(self, config: ImageStyleganConfig) -> None:
        super().__init__(config)
        if config.size < READING_SIZE or config.size & (config.size - 1):
            raise UserError(f"image_stylegan: size {config.size} is not 16, 32, 64, 128 or another power of two.")
        sizes = [FIRST_SIZE * 2**level for level in range((config.size // FIRST_SIZE).bit_length())]
        widths = [min(config.channels * config.size // size, config.max_channels) for size in sizes]
        self.mapping = StyleMapping(config)
        self.start = nn.Parameter(torch.randn(1, widths[0], FIRST_SIZE, FIRST_SIZE))
        layers, self.layer_sizes = [StyledLayer(widths[0], widths[0], style_width=config.style_width, grows=False)], [FIRST_SIZE]
        for size, (before, after) in zip(sizes[1:], pairwise(widths), strict=True):
            for grows in (True, False):
                layers.append(StyledLayer(before if grows else after, after, style_width=config.style_width, grows=grows))
                self.layer_sizes.append(size)
        self.layers = nn.ModuleList(layers)
        gain = 0.5 / len(sizes) ** 0.5  # the colours of all sizes together begin within [-1, 1], most of them
        self.colours = nn.ModuleList(
            ModulatedConvolution(width, 3, 1, style_width=config.style_width, demodulated=False, gain=gain) for width in widths
        )
        self.reading = Reading(widths[sizes.index(READING_SIZE)], config.latent_width, heads=config.heads)
        self.references = config.references
        self.reference_maps = ReferenceMaps(config.references, widths) if config.references else None
        self.register_buffer("path_mean", torch.zeros(()))
        """Running mean of path lengths, which each is drawn to."""

    @property
    def noise_count(self) -> int:
        """Numbers that a seed draws."""
        return self.config.noise_width + sum(size**2 for size in self.layer_sizes)

    def _noise(self, flat: Tensor) -> Noise:
        """Part what was drawn, (batch, noise_count)."""
        point, *maps = flat.split([self.config.noise_width, *(size**2 for size in self.layer_sizes)], dim=1)
        return Noise(point, [each.unflatten(1, (1, size, size)) for each, size in zip(maps, self.layer_sizes, strict=True)])

    def forward(self, latent: Latent, styles: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Draw from styles (batch, layers, style_width) and noise (batch, 1, size, size) for every layer; colours are not bounded."""
        x = self.start.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        seen = None if self.reference_maps is None or latent.references is None else self.reference_maps(latent.references)
        x = x if seen is None else x + seen[0]
        picture = x.new_zeros(len(styles), 3, FIRST_SIZE, FIRST_SIZE)
        for number, layer in enumerate(self.layers):
            x = layer(x, styles[:, number], maps[number])
            if number % 2:  # the first layer of a size; colours come from the last
                x = x if seen is None else x + seen[number // 2 + 1]
                continue
            if self.layer_sizes[number] == READING_SIZE:
                x = self.reading(x, latent.tokens, latent.mask)
            coloured = self.colours[number // 2](x, styles[:, number])
            picture = coloured + (doubled(picture) if number else picture)
        return picture

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Nothing: only a discriminator says how good a picture is."""
        return LossTerms({})

    def play(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> Played:
        """Return pictures from noise, some with the styles of two, and the path-length term where its turn has come."""
        count, device = len(latent), latent.tokens.device
        noise = self._noise(torch.randn(count, self.noise_count, generator=randomness).to(device))
        others = torch.randn(count, self.config.noise_width, generator=randomness).to(device)
        # From this layer on a row has the other style; the number of layers means never.
        crossings = torch.randint(1, len(self.layers), (count,), generator=randomness)
        mixed = torch.rand(count, generator=randomness) < self.config.style_mixing
        places = torch.where(mixed, crossings, len(self.layers)).to(device)
        one, other = self.mapping(torch.cat([latent.scaled_point] * 2), torch.cat([noise.point, others])).chunk(2)
        later = torch.arange(len(self.layers), device=device) >= places[:, None]
        styles = torch.where(later[:, :, None], other[:, None], one[:, None])
        made = self(latent, styles, noise.maps).float()
        measured = self.config.path_length > 0 and float(torch.rand((), generator=randomness)) < 1 / self.config.path_length_every
        return Played(made, self._path_length(latent, styles, noise.maps, randomness) if measured else LossTerms({}))

    def _path_length(self, latent: Latent, styles: Tensor, maps: Sequence[Tensor], randomness: torch.Generator) -> LossTerms:
        """Return how far the lengths |J^T y| are from their running mean, y being normal noise in the picture (StyleGAN2, equation 4)."""
        few = torch.arange(max(1, len(styles) // PATH_SHARE), device=styles.device)
        with twice_differentiable(styles.device.type):
            styles = styles[few].float()
            told = latent.rows(few)
            made = self(replace(told, tokens=told.tokens.float()), styles, [each[few] for each in maps])
            direction = torch.randn(made.shape, generator=randomness).to(made.device) / self.config.size
            (slopes,) = torch.autograd.grad((made * direction).sum(), styles, create_graph=True)
            lengths = slopes.square().sum(2).mean(1).sqrt()
        with torch.no_grad():
            mean = lengths.mean()
            self.path_mean.copy_(torch.lerp(self.path_mean, mean, PATH_DECAY) if self.path_mean > 0 else mean)
        weight = self.config.path_length * self.config.path_length_every
        return LossTerms({"path_length": (lengths - self.path_mean).square().mean()}, {"path_length": weight})

    def default_settings(self) -> dict[str, Any]:
        """`truncation` in [0, 1]; `layer_seeds`, a seed or None for each of the first layers, whose style and noise come from it in place of the row's own;
        `references`, how many of those recalled are looked at."""
        return {"truncation": self.config.truncation, "layer_seeds": [], "references": self.config.references}

    @torch.no_grad()
    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Draw in one pass, each row's noise from its own seed alone; `against` changes nothing.

        Raises `UserError` for a `start`, for layer seeds that are none, and for more of them than there are layers.
        """
        if start is not None:
            raise UserError("image_stylegan draws in one pass and cannot start from a picture. Use a model with an image_flow decoder.")
        truncation, chosen = float(settings["truncation"]), settings["layer_seeds"]
        if not isinstance(chosen, (list, tuple)) or any(
            seed is not None and not (type(seed) is int and 0 <= seed <= LARGEST_SEED) for seed in chosen
        ):
            raise UserError(f"layer_seeds is {chosen!r}: give a list of seeds (0 to {LARGEST_SEED}), None for the picture's own.")
        if len(chosen) > len(self.layers):
            raise UserError(f"{len(chosen)} layer_seeds given; this decoder has {len(self.layers)} layers.")
        noise = self._noise(seeded_noise(seeds, (self.noise_count,)).to(latent.tokens.device))
        styles = self.mapping(latent.scaled_point, noise.point)[:, None].repeat(1, len(self.layers), 1)
        maps = list(noise.maps)
        for number, seed in enumerate(chosen):
            if seed is not None:
                theirs = self._noise(seeded_noise([int(seed)], (self.noise_count,)).to(styles.device))
                styles[:, number] = self.mapping(latent.scaled_point, theirs.point.expand(len(latent), -1))
                maps[number] = theirs.maps[number].expand_as(maps[number])
        if truncation < 1:
            styles = torch.lerp(self._centre(latent)[:, None], styles, truncation)
        latent = replace(latent, references=latent.references and latent.references.first(int(settings["references"])))
        return self(latent, styles, maps).float().clamp(-1, 1)

    def _centre(self, latent: Latent) -> Tensor:
        """Return the mean style of each row's latent, (batch, style_width): truncation keeps the caption."""
        points = seeded_noise(list(range(CENTRE_SEEDS)), (self.config.noise_width,)).to(latent.pooled)
        styles = self.mapping(latent.scaled_point.repeat_interleave(CENTRE_SEEDS, 0), points.repeat(len(latent), 1))
        return cast(Tensor, styles.unflatten(0, (len(latent), CENTRE_SEEDS)).mean(1))
