"""Whether what a sound is labelled with can be told by it: linear classifiers of spectra, one for each tag of the rows, that learn from real sounds alone.

Convex, so that they find the same weights whatever they start from; they know nothing of the model that is judged.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from tonggan.data.loader import batch_of
from tonggan.data.pack import Pack
from tonggan.evaluation.descent import learned_from
from tonggan.evaluation.drawing import Sample
from tonggan.evaluation.findings import GROUP_VALUES, tag_value
from tonggan.evaluation.intervals import Numbers
from tonggan.evaluation.materials import SpectraClassifier
from tonggan.modalities.spectrogram import Mel, log_mel

HEARD_IN = ("audio", "video")
"""Modalities of packs that hold sounds."""
PARTS = 8
QUIET = 4.0
"""What lies so many nepers below the loudest frame is not part of what is heard."""
ROWS, BATCH = 5000, 256
EACH = 5
"""Training sounds of each value of a tag that are needed."""
Namer = Callable[[torch.Tensor], Numbers]
"""Waveforms (rows, samples) -> 1 for each row whose tag is named by its sound, else 0."""


def beginnings(pack: Pack, rows: np.ndarray) -> torch.Tensor:
    """Return the beginnings of the sounds of rows, as long as what is made at once: (rows, samples), with silence behind shorter ones."""
    return batch_of(pack, rows, [""] * len(rows)).inputs["audio"]


def namers(pack: Pack, training: np.ndarray, samples: Sequence[Sample]) -> dict[str, Namer]:
    """Return what names each tag that all `samples` have, by the tag: those of 2 to 20 values, all of which the `training` rows have, `EACH` times or more."""
    known = learned_from(training, ROWS)
    tags = {tag: [tag_value(pack.row(int(row)).tags.get(tag)) for row in known] for tag in sorted(samples[0].tags)}
    wanted = {tag: [tag_value(sample.tags.get(tag)) for sample in samples] for tag in tags}
    taught = [tag for tag in tags if _can_be_named(tags[tag], wanted[tag])]
    if not taught:
        return {}
    mel = Mel(sample_rate_hz=pack.framing.sample_rate_hz)
    batches = (beginnings(pack, known[start : start + BATCH]) for start in range(0, len(known), BATCH))
    values = np.stack([parts(each, mel) for batch in batches for each in batch])
    return {tag: _namer(SpectraClassifier.fit(values, [str(each) for each in tags[tag]]), [str(each) for each in wanted[tag]], mel) for tag in taught}


def _can_be_named(known: Sequence[str | None], wanted: Sequence[str | None]) -> bool:
    counts = {value: known.count(value) for value in set(known)}
    return None not in counts and len(counts) in GROUP_VALUES and min(counts.values()) >= EACH and set(wanted) <= set(counts)


def _namer(classifier: SpectraClassifier, wanted: Sequence[str], mel: Mel) -> Namer:
    def right(waveforms: torch.Tensor) -> Numbers:
        named = classifier.names_of(np.stack([parts(each, mel) for each in waveforms]))
        return np.asarray([one == other for one, other in zip(named, wanted, strict=True)], dtype=np.float64)

    return right


def parts(waveform: torch.Tensor, mel: Mel) -> np.ndarray:
    """Return the mean spectra of `PARTS` equal parts of what is heard in a waveform (samples,), less its mean level, and its length in seconds."""
    levels = log_mel(waveform, mel).numpy()
    loudness = levels.max(0)
    audible = np.flatnonzero(loudness > loudness.max() - QUIET)
    word = levels[:, audible[0] : audible[-1] + 1]
    places = np.linspace(0, word.shape[1], PARTS + 1)
    spectra = [word[:, int(begin) : max(int(begin) + 1, round(end))].mean(1) for begin, end in pairwise(places)]
    together = np.concatenate(spectra)
    return np.append(together - together.mean(), word.shape[1] / mel.frames_per_second)
