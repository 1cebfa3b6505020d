"""A judge of synchrony: a small network that learns, from real clips, to tell sound that belongs to the moment from the same sound at another.

Two towers over time, one of how frames change and one of how the spectrum does; their agreement at every shift is a cross-correlation of what they say (in
the manner of SyncNet, Chung & Zisserman 2016), and the shift that is true is learned by cross-entropy among all. It knows nothing of the model it judges.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.data.forms import FULL_SCALE
from tonggan.data.pack import Pack
from tonggan.evaluation import descent
from tonggan.evaluation.card import Figure
from tonggan.evaluation.intervals import mean_interval
from tonggan.modalities.audio import fitted
from tonggan.modalities.spectrogram import FLOOR, Mel, log_mel

SIZE = 16
"""Pixels a side, of frames as they are looked at."""
WIDTH = 48
LONGEST_SECONDS = 0.6
"""Sounds are shifted by so much at the most."""
LEAST_SECONDS = 0.2
"""A shift that is smaller is neither learned nor asked for: it is hardly to be seen."""
STEPS, BATCH, ROWS = 250, 24, 400


class Towers(nn.Module):
    """Frames and sound of a window -> agreement of the frames in its middle with the sound at every shift."""

    def __init__(self) -> None:
        super().__init__()
        seen = nn.Sequential(nn.Conv2d(9, 24, 4, stride=4), nn.SiLU(), nn.Conv2d(24, 32, 2, stride=2), nn.SiLU(), nn.Flatten())
        self.seen = nn.Sequential(seen, nn.Linear(32 * (SIZE // 8) ** 2, WIDTH))
        self.over_frames, self.over_sound = _over_time(WIDTH), _over_time(64)

    def forward(self, moved: Tensor, levels: Tensor, *, longest: int) -> Tensor:
        """moved (batch, frames, 9, size, size), levels (batch, 64, frames) -> (batch, 2 * longest + 1): shift -longest, ... longest frames."""
        seen = self.over_frames(self.seen(moved.flatten(0, 1)).unflatten(0, moved.shape[:2]).transpose(1, 2))
        heard = self.over_sound(levels) - self.over_sound(torch.zeros_like(levels[:1]))  # silence agrees with everything alike
        core = seen[..., longest : seen.shape[-1] - longest]
        return torch.einsum("bcf,bcsf->bs", core, heard.unfold(-1, core.shape[-1], 1)) / core.shape[-1] / WIDTH**0.5


def _over_time(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(width, WIDTH, 5, padding=2), nn.SiLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.SiLU(), nn.Conv1d(WIDTH, WIDTH, 1)
    )


def shrunk(frames: Tensor) -> Tensor:
    """Return float32 (frames, 3, SIZE, SIZE) in [-1, 1] of frames uint8 (frames, 3, height, width)."""
    return F.adaptive_avg_pool2d(frames.float(), SIZE) / 127.5 - 1


def movement(small: Tensor) -> Tensor:
    """Return (batch, frames, 9, SIZE, SIZE) of small frames (batch, frames, 3, SIZE, SIZE): each, its change, and the change of that."""
    change = torch.diff(small, dim=1, prepend=small[:, :1])
    return torch.cat([small, 8 * change, 8 * torch.diff(change, dim=1, prepend=change[:, :1])], dim=2)


def spectra(waveforms: Tensor, *, sample_rate_hz: int, frames: int) -> Tensor:
    """Return (batch, 64, frames) of waveforms (batch, samples): the rise of half as many pairs of bands at each frame of the video, and their level."""
    levels = (log_mel(waveforms, Mel(sample_rate_hz=sample_rate_hz)) - float(np.log(FLOOR))) / 4
    pairs = levels.unflatten(1, (-1, 2)).mean(2)
    rise = torch.diff(pairs, dim=-1, prepend=pairs[..., :1]).clamp_min(0)
    return torch.cat([4 * F.adaptive_max_pool1d(rise, frames), F.adaptive_avg_pool1d(pairs, frames)], dim=1)


def _shifts(pack: Pack) -> tuple[int, int]:
    """Return the longest and the least shift in frames."""
    rate = pack.framing.frames_per_second
    longest = min(round(LONGEST_SECONDS * rate), pack.framing.frames // 4)
    return longest, min(round(LEAST_SECONDS * rate), longest)


def learned(pack: Pack, reference: str) -> Towers:
    """Return towers that have learned from rows of a split, from one window a step of each, the same whenever they are asked for."""
    longest, least = _shifts(pack)
    offered = torch.arange(-longest, longest + 1).abs()
    left_out = (offered > 0) & (offered < least)
    random = np.random.default_rng(descent.SEED)
    clips = [_clip(pack, row) for row in descent.learned_from(pack.indices(reference), ROWS).tolist()]

    def loss(towers: Towers) -> Tensor:
        seen, levels = zip(*(_cut(clips[place], pack.framing.frames, random) for place in random.integers(len(clips), size=BATCH)), strict=True)
        agreement = towers(movement(torch.stack(seen)), torch.stack(levels), longest=longest).masked_fill(left_out, -torch.inf)
        return F.cross_entropy(agreement, torch.full((BATCH,), longest))

    return descent.learned(Towers, loss, steps=STEPS)


def _clip(pack: Pack, row: int) -> tuple[Tensor, Tensor]:
    """Return the small frames (frames, 3, SIZE, SIZE) and spectra (64, frames) of a whole clip, which is at least as long as a window."""
    framing, frames = pack.framing, pack.items("frames", row)
    count = max(len(frames), framing.frames)
    small = shrunk(torch.from_numpy(frames[np.minimum(np.arange(count), len(frames) - 1)]))
    heard = fitted(pack.items("samples", row), round(count / framing.frames_per_second * framing.sample_rate_hz)) / np.float32(FULL_SCALE)
    return small, spectra(torch.from_numpy(heard)[None], sample_rate_hz=framing.sample_rate_hz, frames=count)[0]


def _cut(clip: tuple[Tensor, Tensor], frames: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a window from anywhere in a clip, in one case of two mirrored."""
    small, levels = clip
    first = int(random.integers(len(small) - frames + 1))
    seen = small[first : first + frames]
    return seen.flip(-1) if random.random() < 0.5 else seen, levels[:, first : first + frames]


def synchrony_judge(pack: Pack, *, reference: str, frames: Tensor) -> Callable[[Tensor], Figure]:
    """Return what judges waveforms (rows, samples) by the frames (rows, frames, 3, size, size) that they are for.

    The figure is the share, over rows and shifts from `LEAST_SECONDS` to `LONGEST_SECONDS` either way, of shifted sounds that the judge finds less in time
    than the sound where it is; the same counts half. A half is chance.
    """
    longest, least = _shifts(pack)
    towers = learned(pack, reference)
    moved = movement(torch.stack([shrunk(each) for each in frames]))
    far = (torch.arange(-longest, longest + 1).abs() >= least).nonzero().flatten()

    @torch.no_grad()
    def judge(waveforms: Tensor) -> Figure:
        levels = spectra(waveforms, sample_rate_hz=pack.framing.sample_rate_hz, frames=frames.shape[1])
        agreement = cast(Tensor, towers(moved, levels, longest=longest))
        margin = agreement[:, longest, None] - agreement[:, far]
        won = mean_interval(((margin > 1e-6).double() + 0.5 * (margin.abs() <= 1e-6)).mean(1).numpy())
        return Figure.of("synchrony_accuracy", won, len(waveforms))

    return judge
