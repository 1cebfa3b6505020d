"""Materials: whether what is struck can be told by its sound, by a linear classifier of short log-mel spectra that learns from real sounds.

Convex, so that it finds the same weights whatever it starts from: trained in about a second, the same everywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tonggan.data.forms import FULL_SCALE
from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.evaluation.card import Figure
from tonggan.evaluation.descent import learned_from
from tonggan.evaluation.intervals import ratio_interval
from tonggan.modalities.onsets import onsets
from tonggan.modalities.spectrogram import Mel, log_mel

SPANS = ((-0.04, -0.008), (0.0, 0.024), (0.024, 0.064), (0.064, 0.12))
"""Seconds around an onset whose mean spectra are looked at: what rings before, the blow, and how it dies away; no two events of foley are closer."""
SHIFTS = (-0.008, 0.0, 0.008)
"""Each blow is learned at so many seconds beside its true one, too: sounds that are made are not in time to the millisecond."""
NEAR_SECONDS = 0.05
"""How far from where it should be a blow may be heard; without any, what is heard at the true second is judged."""
ROWS = 1000
DECAY = 1e-4
"""Weight of the squared weights."""
LEAST_DEVIATION = 0.1


@dataclass(frozen=True)
class Blow:
    """An event of one material at a second."""

    second: float
    material: str


def events_of(tags: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return what the tag `events` of a row says, none where there is no such tag: (second, what) of [[second, "what"], ...].

    Raises `UserError` where it says it in another way.
    """
    try:
        return [(float(second), str(what)) for second, what in tags.get("events") or ()]
    except (TypeError, ValueError) as error:
        raise UserError(f'events of a row must be [[second, "what"], ...], not {str(tags["events"])[:80]}.') from error


def blows_of(tags: Mapping[str, Any]) -> list[Blow]:
    """Return the events of a row whose materials are known: `events` are [second, "material what"], `materials` names the materials; else none."""
    known = set(tags.get("materials") or ())
    if not known:  # events may mean something else then
        return []
    named = ((second, what.split(" ")[0]) for second, what in events_of(tags))
    return [Blow(second, material) for second, material in named if material in known]


@dataclass(frozen=True)
class SpectraClassifier:
    """Spectra of what is heard -> one of `names`: weights (values, names) and biases (names,) on values that are centred and scaled."""

    names: tuple[str, ...]
    mean: Tensor
    deviation: Tensor
    weights: Tensor
    biases: Tensor

    @classmethod
    def fit(cls, values: np.ndarray, known: Sequence[str]) -> "SpectraClassifier":
        """Learn from values (sounds, values) whose names are known: multinomial logistic regression by L-BFGS, in double precision."""
        names = tuple(sorted(set(known)))
        given, wanted = torch.from_numpy(values).double(), torch.tensor([names.index(each) for each in known])
        mean, deviation = given.mean(0), given.std(0).clamp_min(LEAST_DEVIATION)
        scaled = (given - mean) / deviation
        weights = torch.zeros(given.shape[1], len(names), dtype=torch.float64, requires_grad=True)
        biases = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights, biases], max_iter=200, line_search_fn="strong_wolfe")

        def descend() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(scaled @ weights + biases, wanted) + DECAY * weights.square().sum()
            loss.backward()
            return loss

        optimizer.step(descend)
        return cls(names, mean, deviation, weights.detach(), biases.detach())

    def names_of(self, values: np.ndarray) -> list[str]:
        """Return the likeliest name of each of values (sounds, values)."""
        scores = (torch.from_numpy(values).double() - self.mean) / self.deviation @ self.weights + self.biases
        return [self.names[place] for place in scores.argmax(1).tolist()]


def blow_values(levels: np.ndarray, second: float, mel: Mel) -> np.ndarray:
    """Return the mean spectra of `SPANS` around a second in log-mel levels (bands, frames), one after the other; beyond the ends is the nearest frame."""
    spectra = []
    for begin, end in SPANS:
        places = np.arange(round((second + begin) * mel.frames_per_second), round((second + end) * mel.frames_per_second))
        spectra.append(levels[:, np.clip(places, 0, levels.shape[1] - 1)].mean(1))
    return np.concatenate(spectra)


def learned(pack: Pack, reference: str) -> SpectraClassifier | None:
    """Return a classifier that has learned from rows of a split; None where their materials are not known, or are all the same."""
    mel = Mel(sample_rate_hz=pack.framing.sample_rate_hz)
    values, materials = [], []
    for row in learned_from(pack.indices(reference), ROWS).tolist():
        if blows := blows_of(pack.row(row).tags):
            levels = _levels(torch.from_numpy(pack.items("samples", row) / np.float32(FULL_SCALE)), mel)
            for blow in blows:
                values += [blow_values(levels, blow.second + shift, mel) for shift in SHIFTS]
                materials += [blow.material] * len(SHIFTS)
    return SpectraClassifier.fit(np.stack(values), materials) if len(set(materials)) > 1 else None


def material_judge(
    pack: Pack, *, reference: str, tags: Sequence[Mapping[str, Any]], begins: np.ndarray, edge_seconds: float
) -> Callable[[Tensor], Figure] | None:
    """Return what judges waveforms (rows, samples) of windows that begin at `begins`, whose rows have `tags`; None where no materials are known.

    The figure is the share of the blows in the windows, not nearer than `edge_seconds` to their ends, whose material is named by what is heard.
    """
    last = pack.framing.clip_seconds - edge_seconds
    moved = ([Blow(blow.second - begin, blow.material) for blow in blows_of(each)] for each, begin in zip(tags, begins, strict=True))
    wanted = [[blow for blow in blows if edge_seconds < blow.second < last] for blows in moved]
    classifier = learned(pack, reference) if any(wanted) else None
    if classifier is None:
        return None
    mel = Mel(sample_rate_hz=pack.framing.sample_rate_hz)

    def judge(waveforms: Tensor) -> Figure:
        right = [_right(classifier, waveform, blows, mel) for waveform, blows in zip(waveforms, wanted, strict=True)]
        counts = np.asarray([len(blows) for blows in wanted], dtype=np.float64)
        share = ratio_interval(np.asarray(right, dtype=np.float64), counts)
        return Figure.of("material_accuracy", share, int(counts.sum()))

    return judge


def _right(classifier: SpectraClassifier, waveform: Tensor, blows: Sequence[Blow], mel: Mel) -> int:
    """Return how many blows of a window are named, each at the nearest onset that is heard."""
    if not blows:
        return 0
    levels, heard = _levels(waveform, mel), onsets(waveform.numpy(), mel.sample_rate_hz)
    found = classifier.names_of(np.stack([blow_values(levels, _nearest(heard, blow.second), mel) for blow in blows]))
    return sum(name == blow.material for name, blow in zip(found, blows, strict=True))


def _nearest(heard: np.ndarray, second: float) -> float:
    late = heard - second
    near = late[np.abs(late) <= NEAR_SECONDS]
    return second + (float(near[np.abs(near).argmin()]) if len(near) else 0.0)


def _levels(waveform: Tensor, mel: Mel) -> np.ndarray:
    return log_mel(waveform, mel).numpy()
