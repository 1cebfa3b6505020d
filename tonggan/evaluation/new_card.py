"""A card of what was measured just now: the machine, the versions, the day and the definitions are filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tonggan.data.pack import Pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Column, DataFacts, Figure, Group, ModelFacts, NetFacts, SpeedFacts, column_of
from tonggan.evaluation.drawing import Chosen
from tonggan.evaluation.kinds import FIGURES
from tonggan.evaluation.machine import machine_facts, versions
from tonggan.evaluation.others import Others, other_warning
from tonggan.model import ends

LOOKED_AT = 2000
"""Reference rows of which it is asked whether the model was trained on them."""


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
    """A model that knows how and on what it was trained."""

    def learned_from(self, pack: Pack, indices: np.ndarray) -> np.ndarray | None:
        """Return which rows of a pack (rows,) it was trained on, None where that is not known."""
        ...

    def trained_as(self) -> dict[str, Any]:
        """Return what is known of how it was trained."""
        ...


def _remembered(model: Judged, pack: Pack, chosen: Chosen) -> list[str]:
    """Say how many of the rows that are judged the model was trained on, where any are; or that outputs are another system's."""
    if isinstance(model, Others):
        return [other_warning(model)]
    learned = model.learned_from(pack, np.asarray([sample.index for sample in chosen.samples])) if isinstance(model, Learner) else None
    count = 0 if learned is None else int(learned.sum())
    which = "these rows" if count == len(chosen.samples) else f"{count:,} of these {len(chosen.samples):,} rows"
    return [f"The model was trained on {which}: the figures say how well it remembers, not what it can do."] if count else []


def _other_reference(model: Judged, pack: Pack, reference: str) -> list[str]:
    """Say where the reference rows, or most of them, are not what the model was trained on; nothing where that is not known."""
    if not isinstance(model, Learner) or reference not in pack.facts["splits"]:
        return []
    rows = pack.indices(reference)
    learned = model.learned_from(pack, rows[:: max(1, len(rows) // LOOKED_AT)])
    if learned is None or learned.mean() > 0.5:
        return []
    return [
        f"The reference rows ('{reference}' of this data) are not what the model was trained on: floors are of these rows, and copies of what it"
        " learned from are not found."
    ]


def new_card(
    model: Judged,
    asked: Asked,
    *,
    arrow: str,
    settings: Mapping[str, Any],
    chosen: Chosen,
    seconds: float | None,
    batch_size: int,
    figures: Sequence[Figure],
    columns: Sequence[Column],
    features: NetFacts,
    nets: Sequence[NetFacts] = (),
    groups: Sequence[Group] = (),
    warnings: Sequence[str] = (),
) -> Card:
    """Return the card of an evaluation of the rows `chosen`; making their outputs took so many `seconds`, None where they were made elsewhere."""
    count, pack = len(chosen.samples), asked.pack
    language = asked.language if "text" in ends(arrow) else ""
    card = Card(
        arrow=arrow,
        model=ModelFacts(
            model.name,
            model.weights_hash,
            dict(settings),
            "outputs" if isinstance(model, Others) else "weights",
            model.trained_as() if isinstance(model, Learner) else {},
        ),
        data=DataFacts(pack.content_hash, asked.split, language, count, chosen.split_rows, chosen.hash(), pack.size),
        features=features,
        first_seed=chosen.samples[0].seed,
        figures=tuple(figures),
        columns=tuple(columns),
        beside=(),
        groups=tuple(groups),
        speed=None if seconds is None else SpeedFacts(seconds, count / seconds, batch_size),
        machine=machine_facts(),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=(*_remembered(model, pack, chosen), *_other_reference(model, pack, asked.reference), *warnings),
        definitions={figure.name: FIGURES[figure.name].meaning for figure in figures},
        nets=tuple(nets),
        request=dict(asked.request),
    )
    return replace(card, beside=tuple(column_of(other, card=card) for other in asked.beside))
