"""What stands around the figures of a card: how outputs were made, of which rows, and where; and in what of it cards differ."""

import json
from collections.abc import Callable, Sequence

from tonggan.evaluation.card import Card

HASH_LETTERS = 12
"""Letters of a hash that are shown: enough to tell two apart."""
HASHES = ("recipe_hash", "data", "commit")
"""What of a training is told by a hash."""
ASKED = ("truth", "tolerance_seconds")
"""What of a card's request decides about figures and stands nowhere else on it."""


def differing(cards: Sequence[Card], of: Callable[[Card], dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return of the facts that `of` tells of a card those in which cards differ: name -> each card's, in order, "-" where a card has none."""
    told = [of(card) for card in cards]
    names = dict.fromkeys(name for facts in told for name in facts)
    values = {name: tuple(facts.get(name, "-") for facts in told) for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def surroundings(card: Card) -> dict[str, str]:
    """Return the machine and the versions that a card was measured with."""
    machine = card.machine
    return {"machine": machine.processor, "device": machine.device, "threads": str(machine.threads), **card.versions}


def circumstances(card: Card) -> dict[str, str]:
    """Return all that may make figures of two cards differ: weights, how they were trained, settings, seed, rows, networks, machine and versions."""
    data = card.data
    asked = {name: card.request[name] for name in ASKED if name in card.request}
    return {
        card.model.hashed: card.model.weights_hash[:HASH_LETTERS],
        **{f"training {name}": _brief(name, value) for name, value in card.model.trained.items() if value is not None},
        **{name: _plain(value) for name, value in {**card.model.settings, **asked}.items()},
        "first seed": str(card.first_seed),
        "data": data.content_hash[:HASH_LETTERS],
        "split": data.split,
        "language": data.language or "-",
        "rows": f"{data.samples:,} of {data.split_rows:,}",
        "picture size": str(data.picture_size),
        **{f"network {net.name}": net.sha256[:HASH_LETTERS] or "without weights" for net in (card.features, *card.nets)},
        **surroundings(card),
    }


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _brief(name: str, value: object) -> str:
    return _plain(value)[:HASH_LETTERS] if name in HASHES else _plain(value)
