"""Flow matching in pixels: a transformer over 64 tokens between a convolutional stem and head.

picture (3, 64, 64) -> unshuffle (12, 32, 32) -> stem (64, 32, 32) -> (128, 16, 16) -> 8 x 8 = 64 tokens -> transformer -> the same way back with skips.
The network predicts the picture (x-prediction, JiT, arXiv:2511.13720), the loss compares velocities.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tonggan.decoders.flow_distillation import check_steps, distilled
from tonggan.decoders.flow_preference import preferred, strayed
from tonggan.decoders.flow_sampling import ANCESTRAL, SETTINGS, FlowConfig, FlowNetwork, SeededNoise, integrate, led_field, velocity_loss
from tonggan.decoders.smoothing import bilateral
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock, norm_groups
from tonggan.layers.embeddings import TimeEmbedding
from tonggan.layers.transformer import KeysValues, ModulatedBlock, RMSNorm, axial_angles, mask_bias
from tonggan.objectives import flow
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, Distilling, Part, Played, Preferring
from tonggan.strict import Count, CountOrZero, NotNegative, Share


class ImageFlowConfig(FlowConfig):
    """Settings of `ImageFlow`."""

    kind: Literal["image_flow"] = "image_flow"
    head_width_multiple = 4
    size: Count = 64
    latent_width: Count = 320
    width: Count = 320
    layers: Count = 8
    heads: Count = 5
    stem_channels: tuple[Count, Count] = (64, 128)
    """Channels at a half and at a quarter of the size."""
    stem_blocks: Count = 1
    """Residual blocks a stage, on the way in and on the way out."""
    augmentation_labels: CountOrZero = 0
    """How many numbers tell the network what augmentation did to the picture it shall predict (`len(tonggan.data.augment.LABELS)`); 0 for none."""
    references: CountOrZero = 0
    """Pictures from the model's memory that are seen beside x_t, as further channels of the stem."""
    look_every: CountOrZero = 0
    """Every so many blocks attend to the references, too, as tokens of 8 x 8 pixels: so that one of several shapes can be chosen, and moved; 0 for none."""
    smoothing: NotNegative = 0.0
    """Colours that differ by less, in [-1, 1] units, are levelled in the finished picture, edges kept (`smoothing.bilateral`); 0 leaves it as it is. For
    drawings, whose flat colours the solver leaves faintly grained; photographs would lose their texture."""
    truncation: Share = 1.0
    """How large the noise is that a picture is drawn from: 1 as it was learned from, 0 none, so that every seed draws the same. What was finished against a
    discriminator draws more like the originals with less."""
    strength: Share = 0.6
    """How far a picture that is started from is taken back to noise: 1 leaves nothing of it, 0 all."""


@dataclass(frozen=True)
class Condition:
    """What is computed once a sample and read at every step.

    Attributes:
        point: (batch, width) embedding of the latent's point.
        contexts: each block's keys and values of the latent tokens.
        seen: (batch, channels, size / 2, size / 2) references as channels of the stem, a plane each for "is there" included; None without references.
        looks: each block's keys and values of the references' tokens; None for blocks that do not look.
    """

    point: Tensor
    contexts: list[KeysValues]
    seen: Tensor | None
    looks: list[KeysValues | None]


class ReferenceTokens(nn.Module):
    """Pictures (batch, references, 3, size, size) -> (batch, references * (size / 8) ** 2, width), each told which reference it is of."""

    def __init__(self, references: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 48, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(48, 96, 2, stride=2),
            nn.SiLU(),
            nn.Conv2d(96, width, 2, stride=2),
        )
        self.slots = nn.Parameter(torch.randn(references, 1, width) * 0.02)
        self.norm = RMSNorm(width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the tokens, reference after reference."""
        cells = self.stem(pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        return self.norm(cells.unflatten(0, pictures.shape[:2]) + self.slots).flatten(1, 2)


class PictureNetwork(FlowNetwork):
    """(x_t, t, condition) -> predicted picture."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ImageFlowConfig) -> None:
        super().__init__()
        fine, coarse = config.stem_channels
        width, blocks = config.width, config.stem_blocks
        self.cells, self.references, self.width = config.size // 8, config.references, width

        def stage(before: int, channels: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(before if i == 0 else channels, channels, condition_width=width) for i in range(blocks))

        self.time = TimeEmbedding(width)
        self.point = nn.Sequential(nn.Linear(config.latent_width, width), nn.SiLU(), nn.Linear(width, width))
        self.changes = nn.Linear(config.augmentation_labels, width, bias=False) if config.augmentation_labels else None
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.fine_in, self.fine_down = nn.Conv2d(12 + 13 * config.references, fine, 3, padding=1), stage(fine, fine)
        self.coarse_in, self.coarse_down = nn.Conv2d(fine, coarse, 2, stride=2), stage(coarse, coarse)
        self.to_tokens = nn.Conv2d(coarse, width, 2, stride=2)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        looking = [bool(config.look_every) and (layer + 1) % config.look_every == 0 for layer in range(config.layers)]
        self.blocks = nn.ModuleList(ModulatedBlock(width, config.heads, context_width=config.latent_width, looks=looks) for looks in looking)
        self.reference_tokens = ReferenceTokens(config.references, width) if any(looking) else None
        self.from_tokens, self.coarse_up = nn.ConvTranspose2d(width, coarse, 2, stride=2), stage(2 * coarse, coarse)
        self.from_coarse, self.fine_up = nn.ConvTranspose2d(coarse, fine, 2, stride=2), stage(2 * fine, fine)
        self.out = nn.Sequential(nn.GroupNorm(norm_groups(fine), fine), nn.SiLU(), nn.Conv2d(fine, 12, 3, padding=1))
        angles = axial_angles(self.cells, self.cells, width // config.heads)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Start every block as the identity and the output at zero (adaLN-Zero, arXiv:2212.09748)."""
        for layers in (self.modulation, self.out):
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def prepare(self, latent: Latent) -> Condition:
        """Compute what does not change from step to step."""
        point = self.point(latent.scaled_point)
        if self.changes is not None and latent.changes is not None:
            if latent.changes.shape[1] != self.changes.in_features:
                raise UserError(f"image_flow: augmentation_labels is {self.changes.in_features}, the data gives {latent.changes.shape[1]} labels.")
            point = point + self.changes(latent.changes)
        bias = mask_bias(latent.mask, torch.float32)
        contexts = [cast(ModulatedBlock, block).attention.read(latent.tokens, bias) for block in self.blocks]
        return Condition(point, contexts, self._seen(latent), self._looks(latent))

    def _looks(self, latent: Latent) -> list[KeysValues | None]:
        readers = [cast(ModulatedBlock, block).look for block in self.blocks]
        if self.reference_tokens is None or latent.references is None:
            return [None] * len(readers)
        tokens = self.reference_tokens(latent.references.values)
        mask = latent.references.present.repeat_interleave(self.cells**2, dim=1)
        return [None if reader is None else reader.read(tokens, mask, (self.cosine, self.sine)) for reader in readers]

    def _seen(self, latent: Latent) -> Tensor | None:
        if not self.references:
            return None
        side = 4 * self.cells
        if latent.references is None:
            return latent.tokens.new_zeros(len(latent), 13 * self.references, side, side)
        pictures = self.unshuffle(latent.references.values.flatten(0, 1)).unflatten(0, (len(latent), -1)).flatten(1, 2)
        present = latent.references.present.to(pictures.dtype)[:, :, None, None].expand(-1, -1, side, side)
        return torch.cat([pictures, present], dim=1)

    def forward(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """x (batch, 3, size, size), times (batch,) -> predicted picture of the same shape."""
        embedding = self.time(times) + condition.point
        fine, coarse, (*_, tokens) = self._inward(x, embedding, condition)
        deep = tokens.transpose(1, 2).unflatten(2, (self.cells, self.cells)).contiguous(memory_format=torch.channels_last)
        up = torch.cat([self.from_tokens(deep), coarse], dim=1)
        for block in self.coarse_up:
            up = block(up, embedding)
        up = torch.cat([self.from_coarse(up), fine], dim=1)
        for block in self.fine_up:
            up = block(up, embedding)
        return self.shuffle(self.out(up))

    def features(self, x: Tensor, times: Tensor, condition: Condition) -> list[Tensor]:
        """Return the tokens (batch, (size / 8) ** 2, width) that each block gives."""
        return self._inward(x, self.time(times) + condition.point, condition)[2]

    def _inward(self, x: Tensor, embedding: Tensor, condition: Condition) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the maps at a half and at a quarter of the size, and every block's tokens."""
        pixels = self.unshuffle(x)
        if condition.seen is not None:
            pixels = torch.cat([pixels, condition.seen], dim=1)
        fine = self.fine_in(pixels.contiguous(memory_format=torch.channels_last))
        for block in self.fine_down:
            fine = block(fine, embedding)
        coarse = self.coarse_in(fine)
        for block in self.coarse_down:
            coarse = block(coarse, embedding)
        tokens = [self.to_tokens(coarse).flatten(2).transpose(1, 2)]
        modulation = self.modulation(embedding).unflatten(1, (6, 1, -1))
        for block, context, seen in zip(self.blocks, condition.contexts, condition.looks, strict=True):
            tokens.append(block(tokens[-1], modulation, context=context, rotation=(self.cosine, self.sine), seen=seen))
        return fine, coarse, tokens[1:]


class ImageFlow(Decoder[ImageFlowConfig]):
    """`Latent` -> pictures (batch, 3, size, size) in [-1, 1], by integrating a learned velocity from noise."""

    modality = "image"
    Config = ImageFlowConfig

    def __init__(self, config: ImageFlowConfig) -> None:
        super().__init__(config)
        if config.size % 8:
            raise UserError(f"image_flow: size {config.size} is not a multiple of 8.")
        if config.look_every and not config.references:
            raise UserError("image_flow: look_every needs references: 1 or more.")
        self.network = PictureNetwork(config)
        self.references = config.references

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Mean square error of the velocity at logit-normal times (flow matching, arXiv:2210.02747, equation 23)."""
        return LossTerms({"flow": velocity_loss(self.network, target, self.network.prepare(latent), config=self.config, randomness=randomness)})

    def check_distil(self, how: Distilling) -> None:
        """See `Decoder.check_distil`: steps have to divide."""
        check_steps(how, self.config)

    def distil(
        self, latent: Latent, target: Tensor, *, against: Latent, teacher: Decoder[Any], how: Distilling, randomness: torch.Generator
    ) -> LossTerms:
        """Learn the teacher's steps (`flow_distillation.distilled`)."""
        assert isinstance(teacher, ImageFlow)
        return distilled(
            self.network,
            teacher.network,
            latent,
            target,
            against=against,
            config=self.config,
            interval=teacher.config.guidance_interval,
            how=how,
            randomness=randomness,
        )

    def play(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> Played:
        """Return pictures drawn from noise in one run of the network, and nothing else to descend: a finish of the first step, without a teacher.

        What the network does at later times is left as it is: drawn in two or four steps, it goes on from a better draft.
        """
        return Played(self._drawn(latent, target, randomness, steps=1), LossTerms({}))

    def check_judged(self) -> None:
        """See `Decoder.check_judged`: pictures are drawn step after step, unguided."""
        if self.config.guidance_scale != 1:
            raise UserError("objectives.adversarial judges pictures that are drawn without guidance: set model.decoders.image.guidance_scale=1.")
        if self.config.solver not in (ANCESTRAL, "euler"):
            raise UserError(f"objectives.adversarial plays step after step: set model.decoders.image.solver={ANCESTRAL}.")

    def finish(
        self, latent: Latent, target: Tensor, *, against: Latent, teacher: Decoder[Any], how: Distilling, randomness: torch.Generator
    ) -> Played:
        """Return pictures drawn from noise by our own `num_inference_steps`, and the loss of `distil`."""
        made = self._drawn(latent, target, randomness, steps=self.config.num_inference_steps)
        return Played(made, self.distil(latent, target, against=against, teacher=teacher, how=how, randomness=randomness))

    def _drawn(self, latent: Latent, target: Tensor, randomness: torch.Generator, *, steps: int) -> Tensor:
        """Return pictures of the shape of `target` as `generate` draws them, unguided.

        The last step alone has gradients: those before it lead where they lead already.
        """
        condition = self.network.prepare(latent)

        def field(x: Tensor, t: Tensor) -> Tensor:
            times = t.expand(len(x)).to(x.device)
            return flow.velocity_from_data(self.network(x, times, condition).float(), x, times)

        def noise() -> Tensor:
            return torch.randn(target.shape, generator=randomness).to(target.device)

        grid = flow.time_grid(steps, shift=self.config.time_shift)
        with torch.no_grad():
            x = integrate(field, noise(), grid[:-1], solver=self.config.solver, noise=noise, bound=1.0)
        return flow.euler(field, x, grid[-2:])

    def feature_network(self) -> tuple[PictureNetwork, int]:
        """Return the network, and how many blocks it has."""
        return self.network, self.config.layers

    def check_reference(self, reference: Part) -> None:
        """Raise `UserError` where `reference` draws in another way or size, or from another space."""
        if not isinstance(reference, ImageFlow):
            raise UserError(f"objectives.prefer.reference draws by '{reference.config.kind}', not by flow. Name a model of kind 'image_flow'.")
        for name in ("size", "latent_width", "references"):
            ours, theirs = getattr(self.config, name), getattr(reference.config, name)
            if ours != theirs:
                raise UserError(f"objectives.prefer.reference: its {name} is {theirs}, this model's {ours}. Name the model that the run starts from.")

    def prefer(self, latent: Latent, chosen: Tensor, rejected: Tensor, *, reference: Part, how: Preferring, randomness: torch.Generator) -> LossTerms:
        """Diffusion-DPO for flows (`flow_preference.preferred`)."""
        assert isinstance(reference, ImageFlow)
        return preferred(self.network, reference.network, latent, chosen, rejected, config=self.config, how=how, randomness=randomness)

    def keep(self, latent: Latent, target: Tensor, *, reference: Part, how: Preferring, randomness: torch.Generator) -> Tensor:
        """Mean square distance from the reference's velocity on data."""
        assert isinstance(reference, ImageFlow)
        return strayed(self.network, reference.network, latent, target, config=self.config, how=how, randomness=randomness)

    def default_settings(self) -> dict[str, Any]:
        """Steps, guidance and solver as the recipe has them."""
        return {name: getattr(self.config, name) for name in (*SETTINGS, "smoothing", "strength", "truncation", "references")}

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Integrate from each seed's own noise, led away from `against` by `guidance_scale` (arXiv:2207.12598, equation 6; 1 means unguided).

        With `start` (batch, 3, size, size) the path begins at t = 1 - `strength`, at that picture under its noise (SDEdit, arXiv:2108.01073).
        """
        latent = replace(latent, references=latent.references and latent.references.first(int(settings["references"])))
        field = led_field(self.network, latent, against, settings)
        seeded, truncation = SeededNoise(seeds, (3, self.config.size, self.config.size)), float(settings["truncation"])

        def noise() -> Tensor:
            return truncation * seeded()

        x = noise().to(latent.tokens.device)
        begin = 0.0
        if start is not None:
            strength = float(settings["strength"])
            if strength == 0:
                return start.to(x)
            begin = 1 - strength
            x = flow.interpolate(x, start.to(x), torch.full((len(x),), begin, device=x.device))
        share = round(int(settings["num_inference_steps"]) * (1 - begin), 6)  # 10 steps of 0.3 are 3, not 3.0000000000000004
        steps = max(1, math.ceil(share))
        grid = begin + (1 - begin) * flow.time_grid(steps, shift=float(settings["time_shift"]))
        made = integrate(field, x, grid, solver=settings["solver"], noise=noise, bound=1.0).clamp(-1, 1)
        smoothing = float(settings["smoothing"])
        return bilateral(made, smoothing) if smoothing > 0 else made
