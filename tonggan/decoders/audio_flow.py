"""Flow matching over log-mel frames: a transformer over time, told at each token what is seen at the same instant; then a vocoder.

waveform (samples) -> log-mel (bands, frames) -> tokens of a few frames (32 ms) -> transformer -> frames -> waveform.
What is seen is brought to the tokens by its seconds, not found by attention: a network that has to find it is seldom in time (MMAudio, arXiv:2412.15322).
What is said (a caption, alone or beside a clip) has no time and is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tonggan.decoders.flow_distillation import check_steps, distilled
from tonggan.decoders.flow_sampling import SETTINGS, FlowConfig, FlowNetwork, SeededNoise, integrate, led_field, velocity_loss
from tonggan.decoders.vocoder import Vocoder, VocoderConfig, corrected, griffin_lim
from tonggan.errors import UserError
from tonggan.latent.record import Latent, at_instants
from tonggan.layers.bands import WithBands
from tonggan.layers.embeddings import TimeEmbedding
from tonggan.layers.transformer import KeysValues, ModulatedBlock, RMSNorm, mask_bias, temporal_angles
from tonggan.modalities.spectrogram import Mel, frames_to_tokens, token_seconds
from tonggan.objectives import flow
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, Distilling, Played, learns
from tonggan.strict import Count, CountOrZero, Finite, Positive


class AudioFlowConfig(FlowConfig):
    """Settings of `AudioFlow`."""

    kind: Literal["audio_flow"] = "audio_flow"
    head_width_multiple = 2
    clip_seconds: Positive = 2.56
    """Length of what is made at once, the recipe's `data.clip_seconds`."""
    mel: Mel = Mel()
    frames_a_token: Count = 4
    latent_width: Count = 256
    width: Count = 256
    layers: Count = 8
    heads: Count = 4
    aligned: bool = True
    """Whether each token is told what is seen at its instant."""
    told_by: Literal["sum", "modulation"] = "sum"
    """With `aligned`: added to the token, or to what modulates it in every block (as MMAudio has its synchronisation features, arXiv:2412.15322)."""
    attends: bool = False
    """Whether tokens attend to the latent's tokens, whether or not they have a time; where they do, by rotary positions in seconds."""
    prompt: str | None = None
    """Modality of what is said beside what is seen (`text`: a caption to a clip); the model has an encoder of it. What has no time is looked at, too."""
    look_every: Count = 2
    """With `prompt`, every so many blocks look at what is said."""
    prompt_guidance_scale: Finite | None = None
    """How closely a prompt is followed beside what is seen, apart from `guidance_scale`; None leads to both by the same. One more run a step."""
    vocoder: VocoderConfig | None = VocoderConfig()
    """None for Griffin-Lim."""
    corrections: CountOrZero = 8
    """How often the waveform is brought nearer to the spectrogram that it was made from (`vocoder.corrected`)."""
    num_inference_steps: Count = 16
    guidance_scale: Finite = 1.5


@dataclass(frozen=True)
class Condition:
    """What is computed once a sample and read at every step.

    Attributes:
        point: (batch, width) embedding of the latent's point and of the prompt's.
        seen: (batch, tokens, width) what is seen at each token; None where the latent has no time.
        contexts: each block's keys and values of the latent's tokens; None without `attends`.
        looks: each block's keys and values of what is said; None for blocks that do not look, and where nothing is said.
    """

    point: Tensor
    seen: Tensor | None
    contexts: list[KeysValues | None]
    looks: list[KeysValues | None]


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
        looking = [config.prompt is not None and (layer + 1) % config.look_every == 0 for layer in range(config.layers)]
        self.blocks = nn.ModuleList(
            ModulatedBlock(width, config.heads, context_width=reads, looks=looks, look_width=config.latent_width) for looks in looking
        )
        self.asked = nn.Sequential(nn.Linear(config.latent_width, width), nn.SiLU(), nn.Linear(width, width)) if config.prompt is not None else None
        self.out = nn.Sequential(RMSNorm(width), nn.Linear(width, values))
        # Every block starts as the identity, the output at zero (adaLN-Zero, arXiv:2212.09748); a prompt changes nothing until it is learned.
        for layers in (self.modulation, self.out, *([self.asked] if self.asked is not None else [])):
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def instants(self, tokens: int, device: torch.device) -> Tensor:
        """Return the second of the middle of each token."""
        return token_seconds(self.config.mel, tokens, frames_a_token=self.config.frames_a_token, device=device)

    def prepare(self, latent: Latent) -> Condition:
        """Compute what does not change from step to step."""
        point = self.point(latent.scaled_point)
        if self.asked is not None and latent.prompt is not None:
            point = point + self.asked(latent.prompt.scaled_point)
        bias = mask_bias(latent.mask, torch.float32)
        readers = (cast(ModulatedBlock, block).attention for block in self.blocks)
        when = None if latent.seconds is None else self._rotation(latent.seconds)
        contexts = [reader.read(latent.tokens, bias, when) if self.config.attends else None for reader in readers]
        if self.seen is None or latent.seconds is None:
            return Condition(point, None, contexts, self._looks(latent))
        count = round(self.config.clip_seconds * self.config.mel.frames_per_second) // self.config.frames_a_token
        return Condition(point, self.seen(at_instants(latent, self.instants(count, latent.tokens.device))), contexts, self._looks(latent))

    def _rotation(self, seconds: Tensor) -> tuple[Tensor, Tensor]:
        angles = temporal_angles(seconds, self.config.width // self.config.heads)
        return angles.cos(), angles.sin()

    def _looks(self, latent: Latent) -> list[KeysValues | None]:
        """Return what each block looks at: the latent's own tokens where they have no time, and the prompt's."""
        said = [each for each in (latent if latent.seconds is None else None, latent.prompt) if each is not None]
        looks = [cast(ModulatedBlock, block).look for block in self.blocks]
        if not said:
            return [None] * len(looks)
        tokens, mask = torch.cat([each.tokens for each in said], dim=1), torch.cat([each.mask for each in said], dim=1)
        return [None if look is None else look.read(tokens, mask) for look in looks]

    def forward(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """x (batch, bands, frames), times (batch,) -> predicted frames of the same shape."""
        tokens = self.to_tokens(frames_to_tokens(x, self.config.frames_a_token))
        told = (self.time(times) + condition.point).unsqueeze(1)
        if condition.seen is not None:
            if self.config.told_by == "sum":
                tokens = tokens + condition.seen
            else:
                told = told + condition.seen
        rotation = self._rotation(self.instants(tokens.shape[1], x.device))
        modulation = self.modulation(told).unflatten(2, (6, -1)).transpose(1, 2)
        for block, context, look in zip(self.blocks, condition.contexts, condition.looks, strict=True):
            tokens = block(tokens, modulation, context=context, rotation=rotation, seen=look)
        return self.out(tokens).unflatten(2, (self.config.frames_a_token, -1)).flatten(1, 2).transpose(1, 2)


class AudioFlow(WithBands, Decoder[AudioFlowConfig]):
    """`Latent` -> waveforms (batch, samples) in [-1, 1] of `clip_seconds`."""

    modality = "audio"
    Config = AudioFlowConfig
    taken_over = 0.125
    """Share of the whole over which, at the end of what a sound begins with, the new takes over from it little by little: an edge there would be heard."""

    def __init__(self, config: AudioFlowConfig) -> None:
        super().__init__(config)
        self.samples = round(config.clip_seconds * config.mel.sample_rate_hz)
        step = config.mel.hop_length * config.frames_a_token
        if self.samples % step:
            raise UserError(
                f"audio_flow: clip_seconds {config.clip_seconds:g} is not a multiple of {step} samples ({step / config.mel.sample_rate_hz:g} s)."
            )
        if not (config.aligned or config.attends or config.prompt):
            raise UserError("audio_flow: neither aligned nor attends nor prompt: the sound would have nothing to go by.")
        self.prompt = config.prompt
        self.network = SoundNetwork(config)
        self.vocoder = None if config.vocoder is None else Vocoder(config.vocoder, config.mel)
        self.know_bands(config.mel)

    @property
    def listens(self) -> bool:
        """Whether the network of the flow learns: a vocoder knows spectrograms alone."""
        return learns(self.network)

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Descend the velocity of log-mel frames, and the distances of a vocoder that learns."""
        terms, voiced = self._terms(latent, target, randomness)
        return terms if voiced is None else LossTerms({**terms.terms, **voiced.own.terms}, voiced.own.weights)

    def play(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> Played:
        """Let the vocoder's segments be judged, of a decoder with one that learns; descend what `loss` does besides."""
        terms, voiced = self._terms(latent, target, randomness)
        assert voiced is not None
        return replace(voiced, own=LossTerms({**terms.terms, **voiced.own.terms}, voiced.own.weights))

    def audition(self, target: Tensor, *, randomness: torch.Generator) -> Played | None:
        """Return segments of waveforms and what a vocoder that learns makes of their spectrograms, which is all that it knows."""
        self._check_length(target)
        return self.vocoder.play(target, randomness=randomness) if self.vocoder is not None and learns(self.vocoder) else None

    def check_distil(self, how: Distilling) -> None:
        """See `Decoder.check_distil`: steps have to divide."""
        check_steps(how, self.config)

    def distil(
        self, latent: Latent, target: Tensor, *, against: Latent, teacher: Decoder[Any], how: Distilling, randomness: torch.Generator
    ) -> LossTerms:
        """Learn the teacher's steps (`flow_distillation.distilled`); the vocoder stays as it is.

        Raises `UserError` where the teacher means other levels by the same numbers.
        """
        assert isinstance(teacher, AudioFlow)
        if not (torch.equal(self.mean, teacher.mean) and torch.equal(self.deviation, teacher.deviation)):
            raise UserError("objectives.distil.teacher: its statistics of the bands are others. Let the run begin from it (initial), without refit.")
        levels = self.levels(target)
        return distilled(
            self.network,
            teacher.network,
            latent,
            levels,
            against=against,
            config=self.config,
            interval=teacher.config.guidance_interval,
            how=how,
            randomness=randomness,
        )

    def _terms(self, latent: Latent, target: Tensor, randomness: torch.Generator) -> tuple[LossTerms, Played | None]:
        """Return the flow's terms, through which what leads to the latent learns even where the network is frozen, and what a vocoder that learns played."""
        self._check_length(target)
        loss = velocity_loss(self.network, self.levels(target), self.network.prepare(latent), config=self.config, randomness=randomness)
        return LossTerms({"flow": loss}), self.audition(target, randomness=randomness)

    def _check_length(self, target: Tensor) -> None:
        if target.shape[-1] != self.samples:
            raise UserError(
                f"audio_flow: makes {self.samples} samples, the data has windows of {target.shape[-1]}: set data.clip_seconds and clip_seconds alike."
            )

    def default_settings(self) -> dict[str, Any]:
        """Steps, guidance and solver as the recipe has them."""
        names = SETTINGS if self.config.prompt is None else (*SETTINGS, "prompt_guidance_scale")
        return {name: getattr(self.config, name) for name in names}

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Integrate from each seed's own noise to a spectrogram, and give it a voice.

        `start` (batch, samples) is what the sound begins with, shorter than the whole: its frames are held at their places on the path at every step, the
        last of them (`taken_over`) ever more loosely, so that the rest goes on from them.
        """
        frames = self.samples // self.config.mel.hop_length
        noise = SeededNoise(seeds, (self.config.mel.bands, frames))
        x = noise().to(latent.tokens.device)
        field = led_field(self.network, latent, against, settings)
        if start is not None:
            field = self._held(field, start.to(x))
        grid = flow.time_grid(int(settings["num_inference_steps"]), shift=float(settings["time_shift"]))
        made = integrate(field, x, grid, solver=settings["solver"], noise=noise)
        return self.voice(made * self.deviation + self.mean)

    def _held(self, field: flow.Velocity, start: Tensor) -> flow.Velocity:
        """Return a field that leads the first frames straight to those of `start`, and the next ones partly; those that see what is behind its end are free."""
        hop = self.config.mel.hop_length
        seen_beyond = self.config.mel.window_length // hop // 2
        held = self.levels(start[..., : self.samples])[..., : -seen_beyond or None]
        frames, count = start.shape[-1] // hop, held.shape[-1]
        fading = max(1, min(round(self.taken_over * self.samples / hop), frames // 2))
        share = ((frames - torch.arange(count, device=held.device)) / fading).clamp(0, 1)

        def led(x: Tensor, t: Tensor) -> Tensor:
            free = field(x, t)
            straight = (held - x[..., :count]) / (1 - t)
            return torch.cat([torch.lerp(free[..., :count], straight, share), free[..., count:]], dim=-1)

        return led

    def voice(self, levels: Tensor) -> Tensor:
        """Return the waveform (batch, samples) of log-mel frames (batch, bands, frames)."""
        made = griffin_lim(levels, self.config.mel) if self.vocoder is None else self.vocoder(levels)
        return corrected(made, levels, self.config.mel, iterations=self.config.corrections).clamp(-1, 1)
