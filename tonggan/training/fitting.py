"""What parts learn before training, without gradients: vocabularies, statistics, memories."""

from collections.abc import Collection, Iterator

from tonggan.data.loader import Loader, all_phrasings
from tonggan.errors import UserError, nearest
from tonggan.latent.memory import Memorable
from tonggan.latent.seen_words import seen_words
from tonggan.model import CrossModalModel
from tonggan.parts import Part


def memorable(loader: Loader) -> Iterator[Memorable]:
    """Yield every row that a loader trains on, as a memory takes it."""
    for index in loader.rows:
        row = loader.pack.row(int(index))
        yield Memorable(int(index), row.file_name, all_phrasings(row, loader.phrasings), loader.pack.pictures[index])


def words_of(loader: Loader) -> frozenset[str]:
    """Return the words of all captions that a loader trains on, as they are phrased for encoders."""
    rows = (loader.pack.row(int(index)) for index in loader.rows)
    return seen_words(text for row in rows for text in all_phrasings(row, loader.phrasings))


def fit_parts(model: CrossModalModel, loader: Loader, *, samples: int, known: Collection[Part] = ()) -> None:
    """Let the parts, but those that are `known` already, learn from `samples` of the stream, and from every row, what gradients do not teach."""
    positions = range(0, samples, loader.batch_size)
    model.fit(lambda: (loader.batch(position) for position in positions), lambda: memorable(loader), known=known)


def but_refitted(model: CrossModalModel, taken: Collection[Part], refit: Collection[str]) -> list[Part]:
    """Return the parts `taken` from a trained model but those named in `refit`; raises `UserError` for a name that is none of theirs."""
    names = {f"{room}.{name}": part for room in ("encoders", "decoders") for name, part in getattr(model, room).items() if part in taken}
    for name in refit:
        if name not in names:
            raise UserError(f"refit: no part '{name}' is taken from the initial model.{nearest(name, names)}")
    return [part for name, part in names.items() if name not in refit]
