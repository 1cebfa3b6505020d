"""Audio encoder: log-mel frames, a few a token, then a transformer over time."""

from typing import Literal

from torch import Tensor, nn

from tonggan.encoders.temporal import through_time
from tonggan.latent.record import Latent
from tonggan.layers.bands import WithBands
from tonggan.layers.transformer import Block, RMSNorm
from tonggan.modalities.spectrogram import Mel, frames_to_tokens, token_seconds
from tonggan.parts import Encoder, PartConfig
from tonggan.strict import Count


class AudioTransformerConfig(PartConfig):
    """Settings of `AudioTransformer`."""

    kind: Literal["audio_transformer"] = "audio_transformer"
    head_width_multiple = 2
    mel: Mel = Mel()
    """Its `sample_rate_hz` is the recipe's `data.sample_rate_hz`."""
    frames_a_token: Count = 4
    width: Count = 256
    layers: Count = 4
    heads: Count = 4


class AudioTransformer(WithBands, Encoder[AudioTransformerConfig]):
    """Waveforms (batch, samples) in [-1, 1], of any length -> a token for every `frames_a_token` frames, `seconds` its middle, `pooled` their mean.

    Behind the last sample a token is filled with silence.
    """

    modality = "audio"
    timed = True
    Config = AudioTransformerConfig

    def __init__(self, config: AudioTransformerConfig) -> None:
        super().__init__(config)
        self.width = config.width
        values = config.mel.bands * config.frames_a_token
        # What begins within a token is a difference of its frames, seen once it is made positive: a layer more than a map.
        self.stem = nn.Sequential(nn.Linear(values, 2 * config.width), nn.SiLU(), nn.Linear(2 * config.width, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.know_bands(config.mel)

    def forward(self, inputs: Tensor) -> Latent:
        """Encode a batch of waveforms."""
        step = self.config.mel.hop_length * self.config.frames_a_token
        whole = nn.functional.pad(inputs, (0, -inputs.shape[-1] % step))
        x = self.stem(frames_to_tokens(self.levels(whole), self.config.frames_a_token))
        seconds = token_seconds(self.config.mel, x.shape[1], frames_a_token=self.config.frames_a_token, device=x.device)
        return through_time(x, seconds, blocks=self.blocks, norm=self.norm, head_width=self.config.width // self.config.heads)
