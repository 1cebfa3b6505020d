"""From pictures to what their features say: drawn pictures, their ground truths, training pictures, pictures for shuffled captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tonggan.data.loader import Phrasings, all_phrasings
from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.evaluation.clarity import Clarity, clarity
from tonggan.evaluation.drawing import Chosen, Drawer, Drawn, draw
from tonggan.evaluation.features import FeatureExtractor, Features, kept_features
from tonggan.evaluation.retrieval import Nearness, Ranks, ground_truth_ranks, nearest_training, other_captions
from tonggan.evaluation.unfinished import Unfinished
from tonggan.latent.lexical import LexicalIndex
from tonggan.progress import Show

OTHER_SEED = 1_000_003
REFERENCE_LIMIT = 20_000
"""Training pictures that are looked at; of more, so many are sampled."""


@dataclass(frozen=True)
class Reference:
    """Training pictures, in a random order that never changes, as rows of the pack and as features."""

    split: str
    rows: tuple[int, ...]
    features: Features
    split_rows: int


@dataclass(frozen=True)
class Shuffled:
    """Pictures drawn for another row's caption: number i from the seed of sample i and the caption of sample `partners[i]`."""

    partners: tuple[int, ...]
    features: Features


@dataclass(frozen=True)
class Measured:
    """All features, and who is near whom. `reference` and what comes of it are None without training pictures."""

    drawn: Features
    truths: Features
    ranks: Ranks
    truth_ranks: Ranks
    shuffled: Shuffled | None
    reference: Reference | None
    reseeded: Features | None
    """Pictures for the first captions once more, from other seeds."""
    retrieved: Features | None
    """For each caption the training picture whose captions are nearest to it by their words (`latent.lexical`)."""
    nearness: Nearness | None
    truth_nearness: Nearness | None
    clarity: Clarity
    truth_clarity: Clarity
    looked_up: tuple[int, ...] = ()
    """Rows of the pack that `retrieved` are the features of."""
    known_truths: int = 0
    """Ground truths that are to the bit training pictures of other rows."""


@dataclass(frozen=True)
class Ruler:
    """The feature network, the folder in which it keeps what it found in a pack, and whom it tells how far it is."""

    net: FeatureExtractor
    cache: Path | None
    progress: Show | None

    def pack_features(self, pack: Pack, rows: Sequence[int], what: str) -> Features:
        """Return the features of rows of a pack."""
        return kept_features(self.net, pack.pictures, rows=rows, content_hash=pack.content_hash, folder=self.cache, progress=self.named(what))

    def named(self, what: str) -> Show | None:
        """Return the progress callback under another name."""
        progress = self.progress
        return (lambda _, done, total: progress(what, done, total)) if progress else None


def reference_pictures(ruler: Ruler, pack: Pack, split: str) -> Reference | None:
    """Return the pictures of the training split, or None where there is no such split or it is too small to be of use."""
    try:
        indices = pack.indices(split)
    except UserError:
        return None
    rows = tuple(int(index) for index in np.random.default_rng(0).permutation(indices)[:REFERENCE_LIMIT])
    return Reference(split, rows, ruler.pack_features(pack, rows, "training pictures"), len(indices)) if len(rows) > 1 else None


def shuffled_pictures(ruler: Ruler, model: Drawer, chosen: Chosen, *, count: int, batch_size: int, kept: Unfinished) -> Shuffled | None:
    """Draw the first `count` samples with another row's caption each; None where there is none to draw."""
    captions = [sample.caption for sample in chosen.samples]
    partners = other_captions(captions, count=count)
    if not partners:
        return None
    seeds = [sample.seed for sample in chosen.samples[: len(partners)]]
    words = [captions[row] for row in partners]
    drawn = draw(model, words, seeds=seeds, batch_size=batch_size, what="shuffled captions", kept=kept, progress=ruler.progress)
    return Shuffled(tuple(partners), ruler.net.features(drawn.pictures, progress=ruler.named("shuffled pictures")))


def reseeded_pictures(ruler: Ruler, model: Drawer, chosen: Chosen, *, count: int, batch_size: int, kept: Unfinished) -> Features | None:
    """Return the features of the first `count` captions drawn from other seeds; None where there is none to draw."""
    again = chosen.samples[:count]
    if not again:
        return None
    seeds = [sample.seed + OTHER_SEED for sample in again]
    captions = [sample.caption for sample in again]
    drawn = draw(model, captions, seeds=seeds, batch_size=batch_size, what="other seeds", kept=kept, progress=ruler.progress)
    return ruler.net.features(drawn.pictures, progress=ruler.named("pictures of other seeds"))


def nearest_captions(chosen: Chosen, pack: Pack, reference: Reference, phrasings: Phrasings | None) -> list[int]:
    """Return the place in `reference` of the picture that has the nearest caption, for each caption that is drawn; of none with a common word, the first."""
    index = LexicalIndex.build(all_phrasings(pack.row(row), phrasings) for row in reference.rows)
    found = [index.nearest(sample.caption, 1)[0] for sample in chosen.samples]
    return [int(rows[0]) if len(rows) else 0 for rows in found]


def measure(
    ruler: Ruler,
    chosen: Chosen,
    drawn: Drawn,
    *,
    pack: Pack,
    phrasings: Phrasings | None,
    shuffled: Shuffled | None,
    reseeded: Features | None,
    reference: Reference | None,
) -> Measured:
    """Return the features of drawn pictures and ground truths, and their neighbours."""
    truths = ruler.pack_features(pack, [sample.index for sample in chosen.samples], "ground truths")
    found = ruler.net.features(drawn.pictures, progress=ruler.named("drawn pictures"))
    near_truths = nearest_training(truths, reference.features) if reference else None
    looked_up = nearest_captions(chosen, pack, reference, phrasings) if reference else []
    return Measured(
        drawn=found,
        truths=truths,
        ranks=ground_truth_ranks(found, truths),
        truth_ranks=ground_truth_ranks(truths, truths),
        shuffled=shuffled,
        reference=reference,
        reseeded=reseeded,
        retrieved=reference.features[looked_up] if reference else None,
        nearness=nearest_training(found, reference.features) if reference else None,
        truth_nearness=near_truths,
        clarity=clarity(drawn.pictures),
        truth_clarity=clarity([pack.pictures[sample.index] for sample in chosen.samples]),
        looked_up=tuple(reference.rows[place] for place in looked_up) if reference else (),
        known_truths=_known(pack, chosen, [reference.rows[int(place)] for place in near_truths.nearest]) if reference and near_truths else 0,
    )


def _known(pack: Pack, chosen: Chosen, nearest: Sequence[int]) -> int:
    """Return how many ground truths are to the bit the picture of their `nearest` training row, where that is another row."""
    pairs = ((sample.index, row) for sample, row in zip(chosen.samples, nearest, strict=True))
    return sum(own != row and np.array_equal(pack.pictures[own], pack.pictures[row]) for own, row in pairs)
