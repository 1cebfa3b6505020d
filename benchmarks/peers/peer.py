"""What a race asks of a competitor, and what it gives it: pack, rows, arithmetic."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console

from tonggan.data.loader import Batch, Loader, Phrasings
from tonggan.data.pack import Pack
from tonggan.training.checkpoint import Checkpoint
from tonggan.training.recipe import Recipe

Pictures = npt.NDArray[np.uint8]
WARMUP_SHARE, DECAY_SHARE = 0.03, 0.35
"""Shares of the budget in which the learning rate rises and falls; the second is our recipe's."""


@dataclass(frozen=True)
class Pace:
    """Where a race stands: steps taken, and the share of the wall-clock budget that is used, in [0, 1]."""

    step: int
    share: float

    @property
    def factor(self) -> float:
        """Factor on the peak learning rate: linear warm-up, constant, linear decay to zero at the end of the budget (WSD, arXiv:2404.06395)."""
        return min(1.0, (self.share + 1e-3) / WARMUP_SHARE) * min(1.0, max(0.0, (1 - self.share) / DECAY_SHARE))


class Peer(Protocol):
    """A competitor. One network, a pair of adversaries and a lookup fit it alike."""

    name: str
    batch_size: int
    guidance_scale: float | None
    """None where drawing is not guided."""

    def parameter_count(self) -> int:
        """Return how many parameters are trained."""
        ...

    def step(self, batch: Batch, pace: Pace) -> float:
        """Learn from a batch; returns the loss."""
        ...

    def held_out_loss(self, batches: Sequence[Batch]) -> float | None:
        """Return the averaged weights' loss on fixed batches, or None where a loss does not say who is better."""
        ...

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Draw with the averaged weights, picture i from `seeds[i]` alone: uint8 (captions, 3, size, size)."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return what drawing depends on beside the weights."""
        ...

    def snapshot(self) -> Checkpoint:
        """Return all that is needed to go on exactly."""
        ...

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned."""
        ...


@dataclass(frozen=True)
class Arena:
    """What all competitors have in common.

    Attributes:
        recipe: our recipe; its data section (rows, phrasings, seed) is everybody's.
        rows: rows of the pack to train on.
        held: rows of the training split that tune, and are never trained on.
        dtype: `float32` or `bfloat16`, as measured on this machine.
        budget_seconds: wall-clock that each competitor has.
        smoke: whether networks are tiny, for tests.
    """

    recipe: Recipe
    pack: Pack
    rows: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]
    dtype: str
    budget_seconds: float
    smoke: bool
    console: Console

    @property
    def phrasings(self) -> Phrasings | None:
        """How captions are phrased for everybody."""
        return self.recipe.data.loader_phrasings()

    def loader(self, batch_size: int) -> Loader:
        """Return the stream of training samples."""
        return Loader(self.pack, self.rows, batch_size=batch_size, seed=self.recipe.seed, phrasings=self.phrasings)

    def held_batches(self, batch_size: int, *, samples: int = 256) -> list[Batch]:
        """Return the same held-out samples at every call."""
        rows = self.held if len(self.held) else self.rows
        size = min(batch_size, len(rows))
        loader = Loader(self.pack, rows, batch_size=size, seed=self.recipe.seed, phrasings=self.phrasings)
        return [loader.batch(index * size) for index in range(max(1, min(samples, len(rows)) // size))]


@dataclass(frozen=True)
class Entry:
    """A competitor on the list.

    Attributes:
        name: of its folder, and for `--only`.
        label: for tables.
        source: paper or library.
        build: (arena, folder, learning rate, whether the folder holds a race to go on with) -> the competitor.
        learning_rates: those that pilots choose from, the middle one first; empty where none is tuned.
        trains: False for a lookup.
    """

    name: str
    label: str
    source: str
    build: Callable[[Arena, Path, float, bool], Peer]
    learning_rates: tuple[float, ...] = ()
    trains: bool = True


class PeerDrawer:
    """A competitor as the package's evaluation takes it (`tonggan.evaluation.drawing.Drawer`); a picture drawn once is not drawn again."""

    def __init__(self, peer: Peer, phrasings: Phrasings | None) -> None:
        self.peer, self.name, self.phrasings = peer, peer.name, phrasings
        self.weights_hash = tensors_hash(peer.snapshot().tensors)
        self._drawn: dict[tuple[str, int], Image.Image] = {}

    def settings(self) -> dict[str, Any]:
        """Return what drawing depends on."""
        return self.peer.settings()

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        """Draw one picture a caption."""
        wanted = list(zip(map(str, inputs), seeds, strict=True))
        new = [key for key in dict.fromkeys(wanted) if key not in self._drawn]
        if new:
            made = self.peer.draw([caption for caption, _ in new], [seed for _, seed in new])
            self._drawn |= {key: Image.fromarray(np.moveaxis(picture, 0, -1)) for key, picture in zip(new, made, strict=True)}
        return [self._drawn[key] for key in wanted]


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def to_bytes(pictures: torch.Tensor) -> Pictures:
    """Return pictures (batch, 3, size, size) in [-1, 1] as uint8."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).contiguous().numpy()
