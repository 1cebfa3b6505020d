"""What every evaluation is asked, whatever the arrow: which rows are judged, beside which, and where the results go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack
from tonggan.evaluation.card import Card
from tonggan.evaluation.drawing import Chosen, choose
from tonggan.evaluation.unfinished import Unfinished, unfinished
from tonggan.progress import Show


@dataclass(frozen=True)
class Asked:
    """The rows of a pack that are judged, and what all arrows need besides."""

    pack: Pack
    """The packed data."""
    split: str
    """Which of its rows are judged."""
    out: Path
    """Folder for the results; what an earlier evaluation left there is replaced. What was made when it is stopped lies in its `unfinished`, and is not made
    again."""
    language: str = "en"
    """Language code of the captions, phrased as the model was trained; where neither side of an arrow is text it says nothing."""
    seed: int = 0
    """Row i, in the fixed random order of the split, is made with `seed` + i."""
    limit: int | None = None
    """So many rows of that order alone (2 or more)."""
    reference: str = "train"
    """Split that the model was trained on: for the floors, what learns to judge from real data, and the search for copies."""
    beside: Sequence[Card] = ()
    """Earlier cards to show beside this one, such as the plain baseline's."""
    journal: Path | None = None
    """Journal of the run that the model comes from, for its curves."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """What the card keeps to be repeated by; see `tonggan.evaluation.request`."""
    progress: Show | None = None
    """Called with (what, done, total)."""

    def rows(self, phrasings: Phrasings | None, *, captioned: bool = True) -> Chosen:
        """Return the rows that are judged, as `choose` does; not `captioned`, they need no caption."""
        return choose(
            self.pack, split=self.split, language=self.language if captioned else None, phrasings=phrasings, seed=self.seed, limit=self.limit
        )

    def kept(self, weights_hash: str, settings: Mapping[str, Any]) -> Unfinished:
        """Return what an earlier evaluation into `out` left unfinished that was made by these weights (SHA-256) and settings."""
        return unfinished(self.out, weights_hash=weights_hash, content_hash=self.pack.content_hash, settings=settings)

    def uncaptioned(self, chosen: Chosen) -> list[str]:
        """Say, in a line, how many rows of the split were left out for want of a caption; nothing where none was."""
        count = chosen.without_caption
        return [f"{count:,} rows of '{self.split}' have no caption in '{self.language}' and were left out."] if count else []
