"""How much people would like an output: a small head on the shared space, learned from preferences, kept in one file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.latent.record import Latent, masked_mean

FORMAT = "tonggan reward head 1"
HIDDEN = 128


@dataclass(frozen=True)
class RewardFacts:
    """What a head says of itself: arrow, name of the model, SHA-256 of the space that it judges in, and what it was learned from."""

    arrow: str
    model: str
    space: str
    width: int
    trained: Mapping[str, Any]


class RewardHead(nn.Module):
    """(latent of an output, latent of its prompt) -> reward (batch,): the higher, the likelier it is preferred (Bradley and Terry 1952)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3 * width))
        self.register_buffer("deviation", torch.ones(3 * width))
        self.layers = nn.Sequential(nn.Linear(3 * width, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    @staticmethod
    def features(output: Latent, prompt: Latent) -> Tensor:
        """Return what the head sees, (batch, 3 width): where the output lies, the mean of its tokens, and along what it agrees with the prompt."""
        return torch.cat([output.pooled, masked_mean(output.tokens, output.mask), output.pooled * prompt.pooled], dim=1).float()

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of these features as the measure of all."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp_min(1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """Return the rewards (batch,) of `features`."""
        return self.layers((features - self.mean) / self.deviation).squeeze(1)


def space_hash(model: nn.Module, *modalities: str) -> str:
    """Return the SHA-256 of what leads these modalities into a model's shared space: a head is at home in that space alone."""
    state, digest = model.state_dict(), hashlib.sha256()
    starts = ("space.", *(f"encoders.{name}." for name in modalities))
    for name in sorted(name for name in state if name.startswith(starts)):
        digest.update(name.encode())
        digest.update(state[name].detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_reward(path: Path, head: RewardHead, facts: RewardFacts) -> None:
    """Write a head into one file (safetensors, with what it says of itself)."""
    said = {"format": FORMAT, "facts": json.dumps(vars(facts), ensure_ascii=False)}
    with replacing(path) as beside:
        save_file({name: tensor.detach().contiguous() for name, tensor in head.state_dict().items()}, str(beside), metadata=said)


def load_reward(path: Path) -> tuple[RewardHead, RewardFacts]:
    """Read a head; raises `UserError` where the file is missing, broken or something else."""
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make a reward head of votes with 'tonggan votes learn'.")
    try:
        with safe_open(str(path), framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        if said.get("format") != FORMAT:
            raise UserError(f"{path}: a safetensors file, but no reward head. Make one of votes with 'tonggan votes learn'.")
        facts = RewardFacts(**json.loads(said["facts"]))
        head = RewardHead(facts.width, hidden=len(tensors["layers.0.bias"]))
        head.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged, or no reward head ({' '.join(str(error).split())[:120]}). Copy it again.") from error
    return head.eval(), facts
