"""A reward head learns from preferences: minutes for people to vote, seconds to learn."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from tonggan.data.preferences import Preferences, read_preferences
from tonggan.errors import UserError
from tonggan.latent.reward import RewardFacts, RewardHead, save_reward, space_hash
from tonggan.model import ends
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

BATCH = 64
HELD_OUT = 0.2
ROUNDS = 400
PATIENCE = 60
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.3
LEAST = 8
"""Preferences below which nothing is learned but chance."""


@dataclass(frozen=True)
class Learned:
    """How a head fared: preferences learned from and held out, and the share of each in which it prefers what people did.

    Those held out were never looked at, not even to choose when to stop.
    """

    preferences: int
    held_out: int
    agreed: float
    held_out_agreed: float


def learn_reward(model: Tonggan, source: Path, out: Path, *, arrow: str = "text->image", seed: int = 0, progress: Show | None = None) -> Learned:
    """Learn a head for `model` from a table of preferences and write it to `out`.

    Prompts are held out by a fifth, to say how the head fares; a fifth of the others choose which state of it is kept. Raises `UserError` as
    `read_preferences` does, for fewer than `LEAST` preferences, and where the model has no encoder for one end of the arrow.
    """
    asked, made = ends(arrow)
    for each in (asked, made):
        model.model.part(model.model.encoders, each, "encoder")
    found = read_preferences(source, source=asked, target=made, framing=model.framing)
    if len(found) < LEAST:
        raise UserError(f"{source} holds {len(found)} preferences on {arrow}; a reward head needs {LEAST} or more. Let people vote on.")
    learned, held = found.hold_out(HELD_OUT, seed=seed)
    descended, choosing = learned.hold_out(HELD_OUT, seed=seed)
    torch.manual_seed(seed)
    descends, chooses, judges = (_features(model, each, asked, made, progress) for each in (descended, choosing, held))
    head = _fitted(RewardHead(model.model.config.space.width), descends, chooses)
    agreed, held_agreed = _agreed(head, torch.cat([descends, chooses])), _agreed(head, judges)
    told = Learned(len(learned), len(held), agreed, held_agreed)
    save_reward(out, head, RewardFacts(arrow, model.name, space_hash(model.model, asked, made), model.model.config.space.width, vars(told)))
    return told


@torch.no_grad()
def _features(model: Tonggan, preferences: Preferences, asked: str, made: str, progress: Show | None) -> Tensor:
    """Return (preferences, 2, features): chosen and rejected."""
    found = []
    for start in range(0, len(preferences), BATCH):
        pairs = preferences.at(range(start, min(start + BATCH, len(preferences))))
        prompt = model.model.encode(pairs.prompts, asked).latent
        both = (model.model.encode(each, made).latent for each in (pairs.chosen, pairs.rejected))
        found.append(torch.stack([RewardHead.features(each, prompt).cpu() for each in both], dim=1))
        if progress is not None:
            progress("looking", min(start + BATCH, len(preferences)), len(preferences))
    return torch.cat(found) if found else torch.zeros(0, 2, 3 * model.model.config.space.width)


def _fitted(head: RewardHead, learned: Tensor, choosing: Tensor) -> RewardHead:
    """Descend -log sigmoid of the rewards' difference on all of `learned` at once; `choosing`, where there are any, say when it is enough."""
    head.standardise(learned.flatten(0, 1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    watched, best, kept, since = choosing if len(choosing) else learned, float("inf"), copy.deepcopy(head.state_dict()), 0
    for _ in range(ROUNDS):
        optimizer.zero_grad()
        _loss(head, learned).backward()
        optimizer.step()
        with torch.no_grad():
            loss = float(_loss(head, watched))
        since += 1
        if loss < best:
            best, kept, since = loss, copy.deepcopy(head.state_dict()), 0
        if since > PATIENCE:
            break
    head.load_state_dict(kept)
    return head.eval()


def _margins(head: RewardHead, features: Tensor) -> Tensor:
    rewards = head(features.flatten(0, 1)).unflatten(0, (-1, 2))
    return rewards[:, 0] - rewards[:, 1]


def _loss(head: RewardHead, features: Tensor) -> Tensor:
    return -F.logsigmoid(_margins(head, features)).mean()


@torch.no_grad()
def _agreed(head: RewardHead, features: Tensor) -> float:
    return float((_margins(head, features) > 0).float().mean()) if len(features) else float("nan")
