"""What is seen and heard of clips that are judged: windows of them, their true onsets, and figures of sounds that were made for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from tonggan.data.loader import batch_of
from tonggan.data.pack import Pack
from tonggan.data.windows import first_frames
from tonggan.decoders.vocoder import griffin_lim
from tonggan.errors import UserError
from tonggan.evaluation.card import Figure
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.intervals import Numbers, mean_interval
from tonggan.evaluation.materials import events_of
from tonggan.evaluation.sound_features import sound_distances
from tonggan.evaluation.sound_judges import sound_judges
from tonggan.evaluation.synchrony import Agreement, agree, synchrony_figures
from tonggan.modalities.onsets import onsets
from tonggan.modalities.spectrogram import Mel, log_mel

Truth = Literal["events", "sound"]
MIDDLE = 0.5
"""Where in a longer clip the window that is heard begins: 0 is the beginning, 1 the last whole window."""
EDGE_SECONDS = 0.1
"""Onsets so near to the ends of a window count neither way: what is cut off there cannot be seen."""
COARSE = 8
"""Pixels a side, of frames as they are compared for the nearest clip."""


CLASS_TAGS = ("class", "scenario", "materials")
"""Columns of a data set that say what kind of clip a row is, the first that it has."""
CLASS_CLIPS = 64
"""Clips of a class of which the mean is taken."""
ANY = "\0any"


@dataclass(frozen=True)
class Windows:
    """What is heard and seen of some rows: uint8 (rows, frames, 3, size, size), float32 (rows, samples), and the second at which each window begins."""

    frames: torch.Tensor
    waveforms: torch.Tensor
    begins: np.ndarray

    @classmethod
    def of(cls, pack: Pack, rows: np.ndarray) -> "Windows":
        """Return the middle of each of the rows of a pack."""
        places = np.full(len(rows), MIDDLE)
        batch = batch_of(pack, rows, [""] * len(rows), places=places)
        begins = first_frames(pack, rows, places) / pack.framing.frames_per_second
        return cls(batch.inputs["video"], batch.inputs["audio"], begins)


@dataclass(frozen=True)
class Judgement:
    """What is found in sounds that were made for clips: onsets of each in seconds, how they agree with the true ones, distance from the true sound (N,)."""

    found: tuple[np.ndarray, ...]
    agreements: tuple[Agreement, ...]
    mel_distances: Numbers
    figures: tuple[Figure, ...]

    def by_row(self) -> list[dict[str, float | list[int]]]:
        """Return the figures of each clip; of a ratio of sums its two parts."""
        return [
            {
                "onset_f1": [2 * len(each.late), each.true + each.found],
                "onset_count_error": [abs(each.true - each.found), each.true],
                "mel_distance": mel,
            }
            for each, mel in zip(self.agreements, np.round(self.mel_distances, 6).tolist(), strict=True)
        ]


class Judge:
    """Judges sounds for the windows of the rows of a pack; `truth` are the seconds of the tag `events`, or the onsets of the true sounds.

    What else judges them learns from the split `reference` first (`sound_judges`). Raises `UserError` for events that are not there.
    """

    def __init__(self, pack: Pack, chosen: Chosen, real: Windows, *, truth: Truth, tolerance_seconds: float, reference: str) -> None:
        self.framing, self.real, self.tolerance_seconds = pack.framing, real, tolerance_seconds
        tags = [sample.tags for sample in chosen.samples]
        events = [events_of(each) for each in tags] if truth == "events" else []
        if truth == "events" and not all(each.get("events") is not None for each in tags):
            raise UserError(f"{pack.path}: not every row has events; use --truth sound.")
        self.learned = sound_judges(
            pack, reference=reference, frames=real.frames, real=real.waveforms, tags=tags, begins=real.begins, edge_seconds=EDGE_SECONDS
        )
        if truth == "sound":
            self.true = self._onsets(real.waveforms)
            return
        found = [np.unique([second for second, _ in each]) for each in events]
        self.true = [self._inside(seconds - begin) for seconds, begin in zip(found, real.begins, strict=True)]

    def __call__(self, waveforms: torch.Tensor) -> Judgement:
        """Return what is found in waveforms float32 (rows, samples)."""
        rate, found = self.framing.sample_rate_hz, self._onsets(waveforms)
        pairs = zip(self.true, found, strict=True)
        agreements = [agree(list(true), list(heard), tolerance_seconds=self.tolerance_seconds) for true, heard in pairs]
        levels = [log_mel(each, Mel(sample_rate_hz=rate)) for each in (waveforms, self.real.waveforms)]
        distances = (levels[0] - levels[1]).abs().flatten(1).mean(1).double().numpy()
        mel = mean_interval(distances)
        figures = (
            *synchrony_figures(agreements),
            Figure.of("mel_distance", mel, len(distances)),
            *sound_distances(waveforms, self.real.waveforms, sample_rate_hz=rate),
            *(judge(waveforms) for judge in self.learned),
        )
        return Judgement(tuple(found), tuple(agreements), distances, figures)

    def _onsets(self, waveforms: torch.Tensor) -> list[np.ndarray]:
        return [self._inside(onsets(waveform.numpy(), self.framing.sample_rate_hz)) for waveform in waveforms]

    def _inside(self, seconds: np.ndarray) -> np.ndarray:
        return seconds[(seconds > EDGE_SECONDS) & (seconds < self.framing.clip_seconds - EDGE_SECONDS)]


def f1(agreement: Agreement) -> float:
    """Return the F1 of one clip's onsets; 1 where nothing is true and nothing found."""
    whole = agreement.true + agreement.found
    return 2 * len(agreement.late) / whole if whole else 1.0


def nearest_windows(pack: Pack, real: Windows, rows: Sequence[int] | np.ndarray) -> Windows:
    """Return for each window that of the `rows` whose frames are nearest: in rest and in movement, coarsely."""
    known = np.concatenate([_coarse(Windows.of(pack, np.asarray(rows[i : i + 64])).frames) for i in range(0, len(rows), 64)])
    asked = _coarse(real.frames)
    distances = (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)
    return Windows.of(pack, np.asarray(rows)[distances.argmin(1)])


def class_means(pack: Pack, rows: Sequence[int] | np.ndarray, training: np.ndarray) -> torch.Tensor:
    """Return for each of `rows` the mean sound of the `training` rows of its class, (rows, samples): mean log-mel spectra, given a voice by Griffin-Lim.

    A row's class is what the first of `CLASS_TAGS` that it has says; of a class that training does not have, the mean is that of all.
    """
    mel = Mel(sample_rate_hz=pack.framing.sample_rate_hz)
    members: dict[str, list[int]] = {}
    for row in training:
        members.setdefault(_class_of(pack, int(row)), []).append(int(row))
    means: dict[str, torch.Tensor] = {}
    asked = [name if (name := _class_of(pack, int(row))) in members else ANY for row in rows]
    for name in dict.fromkeys(asked):
        of_class = np.random.default_rng(0).permutation(members[name] if name != ANY else training)[:CLASS_CLIPS]
        means[name] = log_mel(Windows.of(pack, of_class).waveforms, mel).mean(0)
    voiced = griffin_lim(torch.stack(list(means.values())), mel).clamp(-1, 1)
    length = Windows.of(pack, np.asarray(rows)[:1]).waveforms.shape[1]
    return voiced[[list(means).index(name) for name in asked], :length]


def _class_of(pack: Pack, row: int) -> str:
    tags = pack.row(row).tags
    return next((str(tags[name]) for name in CLASS_TAGS if tags.get(name)), "")


def _coarse(frames: torch.Tensor) -> np.ndarray:
    small = torch.nn.functional.adaptive_avg_pool2d(frames.flatten(0, 1).float() / 255, COARSE).unflatten(0, frames.shape[:2])
    moved = small.diff(dim=1)
    whole = torch.cat([small[:, ::4].flatten(1), 4 * moved.flatten(1)], dim=1)
    return (whole - whole.mean(1, keepdim=True)).numpy()
