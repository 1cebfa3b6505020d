"""A card of what was measured just now: the machine, the versions, the day and the definitions are filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tonggan.data.pack import Pack
from tonggan.evaluation.card import Card, Column, DataFacts, Figure, Group, ModelFacts, NetFacts, SpeedFacts, column_of
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.kinds import FIGURES
from tonggan.evaluation.machine import machine_facts, versions


class Judged(Protocol):
    """What a card says of a model."""

    @property
    def name(self) -> str:
        """What a card calls it."""
        ...

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A model that knows what it was trained on."""

    def learned_from(self, pack: Pack, indices: np.ndarray) -> np.ndarray | None:
        """Return which rows of a pack (rows,) it was trained on, None where that is not known."""
        ...


def _remembered(model: Judged, pack: Pack, chosen: Chosen) -> list[str]:
    """Say how many of the rows that are judged the model was trained on, where any are."""
    learned = model.learned_from(pack, np.asarray([sample.index for sample in chosen.samples])) if isinstance(model, Learner) else None
    count = 0 if learned is None else int(learned.sum())
    which = "these rows" if count == len(chosen.samples) else f"{count:,} of these {len(chosen.samples):,} rows"
    return [f"The model was trained on {which}: the figures say how well it remembers, not what it can do."] if count else []


def new_card(
    model: Judged,
    *,
    arrow: str,
    settings: Mapping[str, Any],
    pack: Pack,
    chosen: Chosen,
    split: str,
    language: str = "",
    seconds: float,
    batch_size: int,
    figures: Sequence[Figure],
    columns: Sequence[Column],
    features: NetFacts,
    nets: Sequence[NetFacts] = (),
    groups: Sequence[Group] = (),
    warnings: Sequence[str] = (),
    beside: Sequence[Card] = (),
    request: Mapping[str, Any] | None = None,
) -> Card:
    """Return the card of an evaluation of the rows `chosen`; making their outputs took so many `seconds`, `beside` are earlier cards to show beside."""
    count = len(chosen.samples)
    card = Card(
        arrow=arrow,
        model=ModelFacts(model.name, model.weights_hash, dict(settings)),
        data=DataFacts(pack.content_hash, split, language, count, chosen.split_rows, chosen.hash(), pack.size),
        features=features,
        first_seed=chosen.samples[0].seed,
        figures=tuple(figures),
        columns=tuple(columns),
        beside=(),
        groups=tuple(groups),
        speed=SpeedFacts(seconds, count / seconds, batch_size),
        machine=machine_facts(),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=(*_remembered(model, pack, chosen), *warnings),
        definitions={figure.name: FIGURES[figure.name].meaning for figure in figures},
        nets=tuple(nets),
        request=dict(request or {}),
    )
    return replace(card, beside=tuple(column_of(other, card=card) for other in beside))
