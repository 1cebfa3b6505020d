"""An embedding of sounds that learns from real clips alone, apart from any model that is judged, and the kernel distance on it.

Two pieces of a clip are to be told from pieces of other clips (COLA, Saeed, Grangier & Zeghidour 2021, arXiv:2010.10915), so that what clips differ in is
kept: what sounds and how, not when. It is trained in less than a minute and is the same whenever it is asked for; distances on it are not FAD.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.data.forms import FULL_SCALE
from tonggan.data.pack import Pack
from tonggan.evaluation import descent
from tonggan.evaluation.card import Figure, NetFacts
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.features import Features
from tonggan.modalities.spectrogram import FLOOR, Mel, log_mel

NAME = "embedding of sounds"
WIDTH, SAID = 256, 128
"""Values of the embedding, and of what pieces are compared by while it learns."""
PIECE_SECONDS = 0.96
STEPS, BATCH, ROWS = 300, 64, 1500


class Ear(nn.Module):
    """Log-mel levels (batch, bands, frames) of any length -> embedding (batch, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 16, 32, 64, WIDTH)
        stages = [
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.SiLU()) for before, after in pairwise(channels)
        ]
        self.stages = nn.Sequential(*stages)
        self.say = nn.Sequential(nn.Linear(WIDTH, SAID), nn.LayerNorm(SAID), nn.Tanh())
        self.similar = nn.Linear(SAID, SAID, bias=False)

    def forward(self, levels: Tensor) -> Tensor:
        """Return means of half of the channels over time and pitch and the loudest of the others, brought to mean 0 and deviation 1 for each sound."""
        seen = self.stages(levels.unsqueeze(1))
        return F.layer_norm(torch.cat([seen[:, : WIDTH // 2].mean((2, 3)), seen[:, WIDTH // 2 :].amax((2, 3))], dim=1), (WIDTH,))

    def loss(self, ones: Tensor, others: Tensor) -> Tensor:
        """Cross-entropy of each piece's partner among all of the batch, by a bilinear similarity (COLA, equations 1 and 2)."""
        said, asked = (self.say(self(each)) for each in (ones, others))
        return F.cross_entropy(said @ self.similar(asked).T, torch.arange(len(ones)))


def levels_of(waveforms: Tensor, *, sample_rate_hz: int) -> Tensor:
    """Return the log-mel levels of waveforms (..., samples) above silence, in units of four nepers."""
    return (log_mel(waveforms, Mel(sample_rate_hz=sample_rate_hz)) - float(np.log(FLOOR))) / 4


def learned(pack: Pack, reference: str) -> Ear:
    """Return an ear that has learned from rows of a split, the same whenever it is asked for."""
    rate, random = pack.framing.sample_rate_hz, np.random.default_rng(descent.SEED)
    clips = [
        levels_of(torch.from_numpy(pack.items("samples", row) / np.float32(FULL_SCALE)), sample_rate_hz=rate)
        for row in descent.learned_from(pack.indices(reference), ROWS).tolist()
    ]
    piece = min(round(PIECE_SECONDS * Mel(sample_rate_hz=rate).frames_per_second), *(clip.shape[-1] for clip in clips))

    def loss(ear: Ear) -> Tensor:
        chosen = random.permutation(len(clips))[:BATCH]
        return ear.loss(*(torch.stack([_piece(clips[place], piece, random) for place in chosen]) for _ in range(2)))

    return descent.learned(Ear, loss, steps=STEPS)


def _piece(levels: Tensor, frames: int, random: np.random.Generator) -> Tensor:
    first = int(random.integers(levels.shape[-1] - frames + 1))
    return levels[:, first : first + frames]


@torch.no_grad()
def embedded(ear: Ear, waveforms: Tensor, *, sample_rate_hz: int, batch_size: int = 64) -> Features:
    """Return float32 (N, WIDTH) of waveforms (N, samples)."""
    parts: Sequence[Tensor] = waveforms.split(batch_size)
    return torch.cat([ear(levels_of(part, sample_rate_hz=sample_rate_hz)) for part in parts]).numpy()


def embedding_facts(sample_rate_hz: int) -> NetFacts:
    """Return what a card says of this embedding."""
    note = f"learned from training clips (of more than {ROWS:,}, so many drawn by chance) by contrast of their pieces"
    return NetFacts(NAME, "", sample_rate_hz, WIDTH, note, unit="Hz")


def embedding_judge(pack: Pack, *, reference: str, real: Tensor) -> Callable[[Tensor], Figure]:
    """Return what measures waveforms (rows, samples) by their kernel distance from `real`."""
    rate, ear = pack.framing.sample_rate_hz, learned(pack, reference)
    truths = embedded(ear, real, sample_rate_hz=rate)

    def judge(waveforms: Tensor) -> Figure:
        found = embedded(ear, waveforms, sample_rate_hz=rate)
        distance = kernel_distance(found, truths).interval
        return Figure.of("kernel_distance", distance, len(found), net=NAME)

    return judge
