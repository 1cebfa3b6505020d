"""Looking at competitors: the package's evaluation at every mark, and what is tuned on held-out training rows."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peers.peer import Arena, Peer, PeerDrawer
from tonggan.data.loader import first_caption
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card
from tonggan.evaluation.distances import kernel_distance
from tonggan.evaluation.drawing import draw
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.features import FeatureNet

FIGURES = ("kernel_distance", "frechet_distance", "recall_at_1", "recall_at_5")
GUIDANCE_SCALES = (1.5, 3.0, 5.0)
SHUFFLED = 64
"""Captions that are drawn once more from another seed, for the diversity, and with another row's words."""
ALIKE = 2.0
"""Deviation from drawing to drawing, of 255, below which they count as one."""


@dataclass(frozen=True)
class Judge:
    """The feature network and the rows that everybody is judged on.

    Attributes:
        split: the captions drawn, the first `limit` of their fixed order at the marks, `final_limit` (None: all) at the end.
        tuning_samples: held-out training rows that a guidance scale or a GAN's learning rate is chosen on.
        cache: folder for features of the pack.
    """

    arena: Arena
    net: FeatureNet
    split: str
    limit: int
    final_limit: int | None
    cache: Path
    tuning_samples: int = 128
    batch_size: int = 32

    def card(self, drawer: PeerDrawer, out: Path, *, limit: int | None, shuffled: int = SHUFFLED) -> Card:
        """Draw the split's first captions and measure them; the pictures lie in `out`. What `shuffled` captions tell is left out with 0."""
        asked = Asked(self.arena.pack, self.split, out, limit=limit)
        return evaluate(drawer, asked, batch_size=self.batch_size, net=self.net, cache=self.cache, shuffled=shuffled)

    def look(self, drawer: PeerDrawer, out: Path) -> dict[str, float]:
        """Return the figures of the first `limit` captions."""
        card = self.card(drawer, out, limit=self.limit, shuffled=0)
        return {name: card.figure(name).value for name in FIGURES}

    def held_out_distance(self, peer: Peer) -> float:
        """Return the kernel distance of drawn held-out training captions to their pictures: what is tuned is never tuned on the split.

        Infinite where all drawings are one: a game that collapsed into a blank is nearer than the noise of one that has only begun.
        """
        arena = self.arena
        rows = (arena.held if len(arena.held) > 1 else arena.rows)[: self.tuning_samples]
        captions = [first_caption(arena.pack.row(int(row)), "en", arena.phrasings) or "" for row in rows]
        chosen = [(int(row), str(caption)) for row, caption in zip(rows, captions, strict=True) if caption]
        drawn = draw(
            PeerDrawer(peer, arena.phrasings), [caption for _, caption in chosen], seeds=list(range(len(chosen))), batch_size=self.batch_size
        )
        if np.stack([np.asarray(picture, dtype=np.float32) for picture in drawn.pictures]).std(0).mean() < ALIKE:
            return math.inf
        truths = self.net.features(arena.pack.pictures, rows=[row for row, _ in chosen])
        return float(kernel_distance(self.net.features(drawn.pictures), truths).interval.value)

    def tune_guidance(self, peer: Peer) -> dict[str, float]:
        """Set the guidance scale that draws held-out training captions best; returns scale -> kernel distance, empty where drawing is not guided."""
        if peer.guidance_scale is None:
            return {}
        found: dict[str, float] = {}
        for scale in GUIDANCE_SCALES:
            peer.guidance_scale = scale
            found[f"{scale:g}"] = self.held_out_distance(peer)
        peer.guidance_scale = GUIDANCE_SCALES[int(np.argmin(list(found.values())))]
        return found

    def pilot_score(self, peer: Peer) -> tuple[str, float]:
        """Return what a pilot is judged by, and how it did; lower is better."""
        loss = peer.held_out_loss(self.arena.held_batches(peer.batch_size))
        return ("kernel distance", self.held_out_distance(peer)) if loss is None else ("loss", loss)
