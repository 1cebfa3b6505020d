"""What is put into words: pictures or sounds of a pack, as a model takes them, as a report shows them, and as what lies near them is found."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tonggan.data.pack import Pack
from tonggan.evaluation.by_net import facts_of
from tonggan.evaluation.card import NetFacts
from tonggan.evaluation.features import FeatureExtractor, FeatureNet, Features
from tonggan.evaluation.gallery import packed_picture
from tonggan.evaluation.measure import REFERENCE_LIMIT, Ruler
from tonggan.evaluation.naming import HEARD_IN, beginnings
from tonggan.evaluation.sound_embedding import Ear, embedded, embedding_facts, learned
from tonggan.evaluation.sound_features import log_mel_statistics, statistics_facts
from tonggan.modalities.audio import Sound
from tonggan.modalities.timeline import timeline
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

BATCH = 256
SPECTROGRAM_WIDTH = 320
"""Pixels of a sound in a report."""


class Described(ABC):
    """The rows of a pack that are put into words."""

    modality: str
    packs: tuple[str, ...]
    """Modalities of the packs that hold them."""
    noun: str
    """What one of them is called."""

    def __init__(self, pack: Pack, *, reference: str = "train", progress: Show | None = None) -> None:
        pack.require(*self.packs, arrow=f"{self.modality}->text")
        self.pack, self.reference, self.progress = pack, reference, progress

    @property
    @abstractmethod
    def facts(self) -> NetFacts:
        """What nearness is measured with."""

    @abstractmethod
    def inputs(self, rows: Sequence[int]) -> list[Any]:
        """Return rows as a model takes them."""

    @abstractmethod
    def features(self, rows: Sequence[int], what: str) -> Features:
        """Return what rows are compared by, (rows, width); `what` names them to who waits."""

    @abstractmethod
    def shown(self, row: int) -> tuple[Image.Image, Sound | None]:
        """Return a row as a report shows it: to be seen, and to be heard where it is a sound."""

    def training(self) -> tuple[int, ...]:
        """Return the rows of the reference split in a random order that never changes, at most so many as are looked at; none where there are fewer than two."""
        indices = self.pack.indices(self.reference) if self.reference in self.pack.facts["splits"] else np.empty(0, dtype=np.int64)
        rows = np.random.default_rng(0).permutation(indices)[:REFERENCE_LIMIT]
        return tuple(rows.tolist()) if len(rows) > 1 else ()

    def points(self, model: Tonggan, rows: Sequence[int], *, what: str = "") -> Features:
        """Return the points (rows, width) of rows in a model's space; without `what` nobody is told how far it is."""
        found = []
        for start in range(0, len(rows), BATCH):
            found.append(model.encode(self.inputs(rows[start : start + BATCH])).numpy())
            if self.progress and what:
                self.progress(what, min(start + BATCH, len(rows)), len(rows))
        return np.concatenate(found)


class Pictures(Described):
    """Pictures, near by features of a network: EfficientNet-Lite0 unless given."""

    modality, packs, noun = "image", ("image",), "picture"

    def __init__(
        self, pack: Pack, *, net: FeatureExtractor | None = None, cache: Path | None = None, reference: str = "train", progress: Show | None = None
    ) -> None:
        super().__init__(pack, reference=reference, progress=progress)
        self._net, self._cache = net, cache

    @cached_property
    def _ruler(self) -> Ruler:
        return Ruler(self._net or FeatureNet.load(), self._cache, self.progress)

    @property
    def facts(self) -> NetFacts:
        """The network."""
        return facts_of(self._ruler.net)

    def inputs(self, rows: Sequence[int]) -> list[Any]:
        """Return PIL pictures."""
        return [packed_picture(self.pack, row) for row in rows]

    def features(self, rows: Sequence[int], what: str) -> Features:
        """Return the network's features."""
        return self._ruler.pack_features(self.pack, rows, what)

    def shown(self, row: int) -> tuple[Image.Image, Sound | None]:
        """Return the picture."""
        return packed_picture(self.pack, row), None


class Sounds(Described):
    """Beginnings of sounds, near by an embedding that learns from those of the reference split, or by statistics of spectra where there is none."""

    modality, packs, noun = "audio", HEARD_IN, "sound"

    @cached_property
    def _ear(self) -> Ear | None:
        return learned(self.pack, self.reference) if self.training() else None

    @property
    def facts(self) -> NetFacts:
        """The embedding, or the statistics."""
        rate = self.pack.framing.sample_rate_hz
        return embedding_facts(rate) if self._ear else statistics_facts(rate)

    def inputs(self, rows: Sequence[int]) -> list[Any]:
        """Return sounds as long as the model's windows."""
        return [Sound(waveform.numpy()[None], self.pack.framing.sample_rate_hz) for waveform in self._waveforms(rows)]

    def features(self, rows: Sequence[int], what: str) -> Features:
        """Return the embedding; so many sounds are in memory at once as are asked for in a batch."""
        return np.concatenate([self._described(self._waveforms(rows[start : start + BATCH])) for start in range(0, len(rows), BATCH)])

    def _described(self, waveforms: torch.Tensor) -> Features:
        rate = self.pack.framing.sample_rate_hz
        return embedded(self._ear, waveforms, sample_rate_hz=rate) if self._ear else log_mel_statistics(waveforms, sample_rate_hz=rate)

    def shown(self, row: int) -> tuple[Image.Image, Sound | None]:
        """Return waveform and spectrogram, and the sound."""
        (sound,) = self.inputs([row])
        return timeline([], [sound.mono()], sound.sample_rate_hz, width=SPECTROGRAM_WIDTH), sound

    def _waveforms(self, rows: Sequence[int]) -> torch.Tensor:
        return beginnings(self.pack, np.asarray(rows, dtype=np.int64))
