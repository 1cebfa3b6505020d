"""Flow matching over log-mel frames: a transformer over time, told at each token what is seen at the same instant; then a vocoder.

waveform (samples) -> log-mel (bands, frames) -> tokens of a few frames (32 ms) -> transformer -> frames -> waveform.
What is seen is brought to the tokens by its seconds, not found by attention: a network that has to find it is seldom in time (MMAudio, arXiv:2412.15322).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tonggan.decoders.flow_sampling import SETTINGS, FlowConfig, FlowNetwork, led_field, seeded_noise, velocity_loss
from tonggan.decoders.vocoder import Vocoder, VocoderConfig, griffin_lim
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.embeddings import TimeEmbedding
from tonggan.layers.transformer import KeysValues, ModulatedBlock, RMSNorm, mask_bias, temporal_angles
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.objectives import flow
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder

FITTED_CLIPS = 256
"""Clips from which mean and deviation of the bands are taken."""


class AudioFlowConfig(FlowConfig):
    """Settings of `AudioFlow`."""

    kind: Literal["audio_flow"] = "audio_flow"
    clip_seconds: float = 2.56
    """Length of what is made at once, the recipe's `data.clip_seconds`."""
    mel: Mel = Mel()
    frames_a_token: int = 4
    latent_width: int = 256
    width: int = 256
    layers: int = 8
    heads: int = 4
    aligned: bool = True
    """Whether each token is told what is seen at its instant."""
    attends: bool = False
    """Whether tokens attend to the latent's tokens: for conditions without time, such as captions."""
    vocoder: VocoderConfig | None = VocoderConfig()
    """None for Griffin-Lim."""
    num_inference_steps: int = 16
    guidance_scale: float = 1.5


@dataclass(frozen=True)
class Condition:
    """What is computed once a sample: embedding of the point (batch, width), what is seen at each token (batch, tokens, width), what each block reads."""

    point: Tensor
    seen: Tensor | None
    contexts: list[KeysValues | None]


def at_instants(latent: Latent, instants: Tensor) -> Tensor:
    """Return the latent's tokens at other seconds (instants,), linearly between neighbours, as they are before the first and behind the last.

    (batch, tokens, width) -> (batch, instants, width). Masked tokens count as zeros: nothing is seen.
    """
    assert latent.seconds is not None
    tokens = latent.tokens * latent.mask.unsqueeze(-1).to(latent.tokens.dtype)
    if len(latent.seconds) == 1:
        return tokens.expand(-1, len(instants), -1)
    after = torch.searchsorted(latent.seconds, instants).clamp(1, len(latent.seconds) - 1)
    begin, end = latent.seconds[after - 1], latent.seconds[after]
    share = ((instants - begin) / (end - begin)).clamp(0, 1).to(tokens.dtype).unsqueeze(-1)
    return tokens[:, after - 1] * (1 - share) + tokens[:, after] * share


class SoundNetwork(FlowNetwork):
    """(x_t, t, condition) -> predicted frames, all (batch, bands, frames)."""

    def __init__(self, config: AudioFlowConfig) -> None:
        super().__init__()
        self.config = config
        width, values = config.width, config.mel.bands * config.frames_a_token
        self.time = TimeEmbedding(width)
        self.point = nn.Sequential(nn.Linear(config.latent_width, width), nn.SiLU(), nn.Linear(width, width))
        self.seen = nn.Sequential(nn.Linear(config.latent_width, width), nn.SiLU(), nn.Linear(width, width)) if config.aligned else None
        self.to_tokens = nn.Linear(values, width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        reads = config.latent_width if config.attends else None
        self.blocks = nn.ModuleList(ModulatedBlock(width, config.heads, context_width=reads) for _ in range(config.layers))
        self.out = nn.Sequential(RMSNorm(width), nn.Linear(width, values))
        for layers in (self.modulation, self.out):  # every block starts as the identity, the output at zero (adaLN-Zero, arXiv:2212.09748)
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def instants(self, tokens: int, device: torch.device) -> Tensor:
        """Return the second of the middle of each token."""
        places = torch.arange(tokens, device=device) * self.config.frames_a_token + (self.config.frames_a_token - 1) / 2
        return places / self.config.mel.frames_per_second

    def prepare(self, latent: Latent) -> Condition:
        """Compute what does not change from step to step."""
        point = self.point(latent.pooled * latent.pooled.shape[-1] ** 0.5)
        bias = mask_bias(latent.mask, torch.float32)
        readers = (cast(ModulatedBlock, block).attention for block in self.blocks)
        contexts = [reader.read(latent.tokens, bias) if self.config.attends else None for reader in readers]
        if self.seen is None or latent.seconds is None:
            return Condition(point, None, contexts)
        count = round(self.config.clip_seconds * self.config.mel.frames_per_second) // self.config.frames_a_token
        return Condition(point, self.seen(at_instants(latent, self.instants(count, latent.tokens.device))), contexts)

    def forward(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """x (batch, bands, frames), times (batch,) -> predicted frames of the same shape."""
        tokens = self.to_tokens(x.unflatten(2, (-1, self.config.frames_a_token)).permute(0, 2, 3, 1).flatten(2))
        if condition.seen is not None:
            tokens = tokens + condition.seen
        angles = temporal_angles(self.instants(tokens.shape[1], x.device), self.config.width // self.config.heads)
        modulation = self.modulation(self.time(times) + condition.point).unflatten(1, (6, -1))
        for block, context in zip(self.blocks, condition.contexts, strict=True):
            tokens = block(tokens, modulation, context=context, rotation=(angles.cos(), angles.sin()))
        return self.out(tokens).unflatten(2, (self.config.frames_a_token, -1)).flatten(1, 2).transpose(1, 2)


class AudioFlow(Decoder[AudioFlowConfig]):
    """`Latent` -> waveforms (batch, samples) in [-1, 1] of `clip_seconds`."""

    modality = "audio"
    Config = AudioFlowConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: AudioFlowConfig) -> None:
        super().__init__(config)
        self.samples = round(config.clip_seconds * config.mel.sample_rate_hz)
        step = config.mel.hop_length * config.frames_a_token
        if self.samples % step:
            raise UserError(
                f"audio_flow: clip_seconds {config.clip_seconds:g} is not a multiple of {step} samples ({step / config.mel.sample_rate_hz:g} s)."
            )
        if not (config.aligned or config.attends):
            raise UserError("audio_flow: neither aligned nor attends: the sound would have nothing to go by.")
        self.network = SoundNetwork(config)
        self.vocoder = None if config.vocoder is None else Vocoder(config.vocoder, config.mel)
        self.register_buffer("mean", torch.zeros(config.mel.bands, 1))
        self.register_buffer("deviation", torch.ones(config.mel.bands, 1))

    def fit(self, examples: Iterable[Any]) -> None:
        """Take mean and deviation of every band from the first examples (waveforms)."""
        levels = torch.cat([log_mel(waveform, self.config.mel) for waveform in islice(examples, FITTED_CLIPS)], dim=1)
        self.mean.copy_(levels.mean(1, keepdim=True))
        self.deviation.copy_(levels.std(1, keepdim=True).clamp_min(0.1))

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Descend the velocity of log-mel frames, and the vocoder's distances; the one of the two that is frozen is left out."""
        if target.shape[-1] != self.samples:
            raise UserError(
                f"audio_flow: makes {self.samples} samples, the data has windows of {target.shape[-1]}: set data.clip_seconds and clip_seconds alike."
            )
        terms: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        if _learns(self.network):
            frames = (log_mel(target, self.config.mel) - self.mean) / self.deviation
            terms["flow"] = velocity_loss(self.network, frames, self.network.prepare(latent), config=self.config, randomness=randomness)
        if self.vocoder is not None and _learns(self.vocoder):
            voiced = self.vocoder.loss(target, randomness=randomness)
            terms, weights = terms | dict(voiced.terms), dict(voiced.weights)
        return LossTerms(terms, weights)

    def default_settings(self) -> dict[str, Any]:
        """Steps, guidance and solver as the recipe has them."""
        return {name: getattr(self.config, name) for name in SETTINGS}

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Integrate from each seed's own noise to a spectrogram, and give it a voice.

        `start` (batch, samples) is what the sound begins with, shorter than the whole: its frames are held at their places on the path at every step, so
        that the rest goes on from them.
        """
        frames = self.samples // self.config.mel.hop_length
        noise = seeded_noise(seeds, (self.config.mel.bands, frames)).to(latent.tokens.device)
        field = led_field(self.network, latent, against, settings)
        if start is not None:
            field = self._held(field, noise, start.to(noise))
        grid = flow.time_grid(int(settings["num_inference_steps"]), shift=float(settings["time_shift"]))
        made = flow.SOLVERS[settings["solver"]](field, noise, grid)
        return self.voice(made * self.deviation + self.mean)

    def _held(self, field: flow.Velocity, noise: Tensor, start: Tensor) -> flow.Velocity:
        """Return a field that leads the first frames straight to those of `start`; the last ones, which see what is behind its end, are free."""
        levels = log_mel(start[..., : self.samples], self.config.mel)[
            ..., : -(self.config.mel.window_length // self.config.mel.hop_length // 2) or None
        ]
        straight = flow.velocity(noise[..., : levels.shape[-1]], (levels - self.mean) / self.deviation)
        return lambda x, t: torch.cat([straight, field(x, t)[..., levels.shape[-1] :]], dim=-1)

    def voice(self, levels: Tensor) -> Tensor:
        """Return the waveform (batch, samples) of log-mel frames (batch, bands, frames)."""
        made = griffin_lim(levels, self.config.mel) if self.vocoder is None else self.vocoder(levels)
        return made.clamp(-1, 1)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
