"""Memory: what a model has seen, found again by words, so that a decoder may look at it while it makes something new.

Retrieval-augmented generation of pictures (Blattmann et al. 2022, arXiv:2204.11824; Chen et al. 2022, arXiv:2209.14491): the weights learn how to redraw what
is found, and need not hold every drawing. In training a row never finds itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.latent.lexical import LexicalIndex
from tonggan.latent.record import References
from tonggan.modalities import Store, modalities
from tonggan.strict import Finite, Share, Strict

DECODED_BYTES = 512 * 2**20
"""Room for values that were looked at and are kept as they are used; when it is full it is emptied."""


class MemoryConfig(Strict):
    """Settings of a memory."""

    key: str = "text"
    """Modality of the inputs that rows are sought by."""
    least: Finite = 0.2
    """Least score of the first row found; below it, and for later rows below half of it, nothing is recalled."""
    dropout: Share = 0.1
    """Share of training samples for which nothing is recalled, so that decoders can do without."""


@dataclass(frozen=True)
class Memorable:
    """A row to remember: its number in the pack, its file's name, its texts, its picture (or what else the modality has) as the pack keeps it."""

    row: int
    name: str
    texts: Sequence[str]
    value: np.ndarray


class Memory:
    """Rows by their texts; each kept as its modality stores it (pictures: WebP), in one file beside the weights."""

    def __init__(self, config: MemoryConfig, *, modality: str, references: int) -> None:
        self.config, self.modality, self.references = config, modality, references
        self.names: list[str] = []
        self._index = LexicalIndex.build([])
        self._rows = np.empty(0, dtype=np.int64)
        self._bytes = np.empty(0, dtype=np.uint8)
        self._ends = np.zeros(1, dtype=np.int64)
        self._decoded: dict[int, torch.Tensor] = {}
        self._place_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def file(self) -> str:
        """Name of the file in a model folder."""
        return f"memory-{self.modality}.safetensors"

    def fit(self, rows: Iterable[Memorable]) -> None:
        """Remember rows instead of what was remembered before. Values are kept as stored, so that a trained and a loaded memory are the same."""
        encode = self._store().encode
        texts, numbers, blobs = list[Sequence[str]](), list[int](), list[bytes]()
        self.names = []
        for row in rows:
            texts.append(row.texts)
            numbers.append(row.row)
            blobs.append(encode(row.value))
            self.names.append(row.name)
        self._index = LexicalIndex.build(texts)
        self._rows = np.asarray(numbers, dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(blobs), dtype=np.uint8)
        self._ends = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
        self._begin()

    def _begin(self) -> None:
        self._decoded = {}
        self._place_of = {int(row): place for place, row in enumerate(self._rows)}

    def save(self, folder: Path) -> None:
        """Write the memory into `folder`."""
        arrays = {f"index.{name}": array for name, array in self._index.arrays().items()}
        names = np.frombuffer("\n".join(self.names).encode(), dtype=np.uint8)
        arrays |= {"rows": self._rows, "bytes": self._bytes, "ends": self._ends, "names": names}
        with replacing(folder / self.file) as beside:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(beside))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; raises `UserError` where it is missing or damaged."""
        path = folder / self.file
        if not path.is_file():
            raise UserError(f"{path} is missing: the model looks things up in it. Copy the whole model folder again.")
        try:
            arrays = load_file(str(path))
            self._index = LexicalIndex.from_arrays(
                {name.removeprefix("index."): array for name, array in arrays.items() if name.startswith("index.")}
            )
            self._rows, self._bytes, self._ends = arrays["rows"], arrays["bytes"], arrays["ends"]
            self.names = bytes(arrays["names"]).decode().split("\n") if len(arrays["names"]) else []
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}). Copy the model again.") from error
        self._begin()

    def find(self, text: str, *, excluded: int | None = None) -> list[int]:
        """Return the places in memory that `text` recalls, best first; `excluded` is a row's number in the pack it was trained on."""
        own = None if excluded is None else self._place_of.get(excluded)
        places, scores = self._index.nearest(text, self.references, excluded=own)
        if not len(scores) or scores[0] < self.config.least:
            return []
        return [int(place) for place, score in zip(places, scores, strict=True) if score >= self.config.least / 2]

    def unknown(self, text: str) -> list[str]:
        """Return the words and signs of `text` that no text in memory has; nothing from an empty memory."""
        return self._index.unknown(text) if len(self) else []

    def recall(self, texts: Sequence[str], *, excluded: Sequence[int] | None = None, randomness: torch.Generator | None = None) -> References | None:
        """Return for each text what it recalls; None from an empty memory.

        `excluded` are the rows that the texts belong to; with `randomness` (training) a share of the texts recalls nothing.
        """
        if not len(self):
            return None
        asked = np.ones(len(texts), dtype=bool)
        if randomness is not None:
            asked = (torch.rand(len(texts), generator=randomness) >= self.config.dropout).numpy()
        hidden = excluded if excluded is not None else [None] * len(texts)
        found = [self.find(text, excluded=own) if wanted else [] for text, own, wanted in zip(texts, hidden, asked, strict=True)]
        return self.look_at(found)

    def look_at(self, places: Sequence[Sequence[int]]) -> References:
        """Return what lies at the given places, a list a sample, as the decoder takes it."""
        shape = self._value(0).shape
        values = torch.zeros(len(places), self.references, *shape, dtype=torch.uint8)
        present = torch.zeros(len(places), self.references, dtype=torch.bool)
        for sample, row in enumerate(places):
            for slot, place in enumerate(row[: self.references]):
                values[sample, slot] = self._value(place)
                present[sample, slot] = True
        return References(self._store().to_tensor(values) * present[(..., *[None] * len(shape))], present)

    def _value(self, place: int) -> torch.Tensor:
        if place not in self._decoded:
            if self._decoded and len(self._decoded) * next(iter(self._decoded.values())).nbytes > DECODED_BYTES:
                self._decoded.clear()
            stored = self._bytes[self._ends[place] : self._ends[place + 1]].tobytes()
            self._decoded[place] = torch.from_numpy(self._store().decode(stored))
        return self._decoded[place]

    def _store(self) -> Store:
        store = modalities()[self.modality].store
        if store is None:
            raise UserError(f"a memory of {self.modality} is not possible: the modality has no stored form.")
        return store
