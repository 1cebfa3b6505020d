"""Retrieval: the picture of the training caption that is nearest by a frozen sentence encoder. Nothing is learned; hard to pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from peers.peer import Arena, Pace, Pictures
from peers.sentences import Sentences
from tonggan.data.loader import Batch, first_caption
from tonggan.training.checkpoint import Checkpoint


class RetrievalPeer:
    """Every English training caption's mean MiniLM state, unit length; a caption is answered with the picture of the nearest."""

    guidance_scale: float | None

    def __init__(self, arena: Arena) -> None:
        self.name, self.batch_size, self.guidance_scale = "retrieval", 1, None
        self.pack, self.sentences = arena.pack, Sentences(dtype=arena.dtype, only_mean=True)
        said = [(int(row), first_caption(arena.pack.row(int(row)), "en", arena.phrasings)) for row in arena.rows]
        self.rows = [row for row, caption in said if caption]
        self.points = self._points([caption for _, caption in said if caption])

    def _points(self, captions: Sequence[str]) -> torch.Tensor:
        return F.normalize(self.sentences.means(captions), dim=1)

    def parameter_count(self) -> int:
        """Return 0: nothing is trained."""
        return 0

    def step(self, batch: Batch, pace: Pace) -> float:
        """Learn nothing."""
        return 0.0

    def held_out_loss(self, batches: Sequence[Batch]) -> None:
        """There is no loss."""

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Return the pictures of the nearest training captions; of equally near ones the first."""
        nearest = (self._points(captions) @ self.points.T).argmax(dim=1)
        return self.pack.pictures[[self.rows[int(index)] for index in nearest]]

    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def snapshot(self) -> Checkpoint:
        """Return the points."""
        return Checkpoint(0, {"points": self.points}, {})

    def restore(self, checkpoint: Checkpoint) -> None:
        """The points are computed anew."""


def retrieval(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> RetrievalPeer:
    """Index the training captions."""
    return RetrievalPeer(arena)
