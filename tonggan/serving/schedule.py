"""Who sees what, when: an order of its own for every voter, the same after every restart, with attention checks; and tickets that cannot be forged."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

BLOCK = 9
"""Pairs to one attention check."""
TICKET_CHARACTERS = 32


class ForgedTicketError(Exception):
    """A ticket that was not given to this voter for a pair of this arena."""


@dataclass(frozen=True)
class Round:
    """What one voter is asked at one place of the order: ids of two outputs, and which of them stands on the left."""

    first: str
    second: str
    left: str

    @property
    def right(self) -> str:
        """Id of the output on the right."""
        return self.second if self.left == self.first else self.first


class Schedule:
    """The orders of all voters, without keeping any: each follows from a secret and the voter's name."""

    def __init__(self, pairs: Sequence[tuple[str, str]], secret: bytes) -> None:
        self.pairs = [(min(pair), max(pair)) for pair in pairs]
        self.outputs = sorted({output for pair in pairs for output in pair})
        self.secret = secret
        self.rounds = lru_cache(maxsize=1024)(self._rounds)

    def _rounds(self, voter: str) -> tuple[Round, ...]:
        """Return what a voter is asked, in order. A check shows one output twice; no pair and no check comes twice."""
        order = sorted(self.pairs, key=lambda pair: self._digest(voter, *pair))
        checks = iter(sorted(self.outputs, key=lambda output: self._digest(voter, output)))
        rounds: list[Round] = []
        for start in range(0, len(order), BLOCK):
            block = [Round(*pair, left=pair[self._digest(voter, "left", *pair)[0] % 2]) for pair in order[start : start + BLOCK]]
            # More pairs than nine an output (twenty models) leave the last blocks without a check.
            if (same := next(checks, None)) is not None:
                block.insert(1 + self._digest(voter, "place", same)[0] % len(block), Round(same, same, left=same))
            rounds += block
        return tuple(rounds)

    def ticket(self, voter: str, place: int) -> str:
        """Return what the page hands back with a vote on the round at `place`; it tells nothing of the outputs."""
        asked = self.rounds(voter)[place]
        return f"{place}-{self._digest(voter, 'ticket', str(place), asked.first, asked.second).hex()[:TICKET_CHARACTERS]}"

    def redeem(self, voter: str, ticket: str) -> Round:
        """Return the round that a ticket stands for; raises `ForgedTicketError` for any other than the voter's own."""
        place, _, _ = ticket.partition("-")
        if not (place.isascii() and place.isdigit() and len(place) < 10 and int(place) < len(self.rounds(voter))):
            raise ForgedTicketError
        if not hmac.compare_digest(self.ticket(voter, int(place)).encode(), ticket.encode("utf-8", "replace")):
            raise ForgedTicketError
        return self.rounds(voter)[int(place)]

    def _digest(self, *parts: str) -> bytes:
        return hmac.digest(self.secret, "\0".join(parts).encode(), "sha256")
