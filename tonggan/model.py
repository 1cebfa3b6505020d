"""The model: some encoders, one shared space, some decoders."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import Field, SerializeAsAny, field_validator
from torch import Tensor, nn

from tonggan.data.loader import Batch
from tonggan.decoders import DECODERS
from tonggan.encoders import ENCODERS
from tonggan.errors import UserError, nearest
from tonggan.latent.alignment import Alignment
from tonggan.latent.record import Latent
from tonggan.latent.space import Placed, SharedSpace, SpaceConfig
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, Encoder, Part, PartConfig, part_config
from tonggan.strict import Strict


class ModelConfig(Strict):
    """Which parts a model has: a modality -> the settings of its encoder or decoder."""

    encoders: dict[str, SerializeAsAny[PartConfig]]
    space: SpaceConfig = SpaceConfig()
    decoders: dict[str, SerializeAsAny[PartConfig]]

    @field_validator("encoders", mode="before")
    @classmethod
    def _encoders(cls, value: Any) -> dict[str, PartConfig]:
        return {name: part_config(part, known=ENCODERS, modality=name, where=f"model.encoders.{name}") for name, part in dict(value).items()}

    @field_validator("decoders", mode="before")
    @classmethod
    def _decoders(cls, value: Any) -> dict[str, PartConfig]:
        return {name: part_config(part, known=DECODERS, modality=name, where=f"model.decoders.{name}") for name, part in dict(value).items()}


class ObjectivesConfig(Strict):
    """What is descended: a weight for each arrow and each term."""

    arrows: dict[str, float] = Field(default={"text->image": 1.0})
    """Direction -> weight, such as `text->image: 1.0`."""
    align: float = 0.0
    """Weight of the contrastive alignment of all encoders."""
    kl: float = 0.0
    """Weight of the KL term of a variational space."""


@dataclass(frozen=True)
class Player:
    """A set of parameters and the loss it descends: all the loop knows of a model."""

    name: str
    module: nn.Module
    loss: Callable[[Batch, torch.Generator], LossTerms]


def ends(arrow: str) -> tuple[str, str]:
    """Split `text->image` into its ends."""
    source, separator, target = arrow.partition("->")
    if not separator:
        raise UserError(f"'{arrow}' is not an arrow. Write it as text->image.")
    return source.strip(), target.strip()


class CrossModalModel(nn.Module):
    """Encoders + space + decoders; knows no modality by name."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict({name: ENCODERS[part.kind](part) for name, part in config.encoders.items()})
        self.decoders = nn.ModuleDict({name: DECODERS[part.kind](part) for name, part in config.decoders.items()})
        self.space = SharedSpace(config.space, widths={name: cast(Encoder, encoder).width for name, encoder in self.encoders.items()})
        self.alignment = Alignment()

    def parts(self) -> Iterable[Part]:
        """All encoders and decoders."""
        return [*self.encoders.values(), *self.decoders.values()]  # type: ignore[list-item]

    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Let every part learn from batches what gradients do not teach (a vocabulary, say); each call of `batches` begins anew."""
        for name, encoder in self.encoders.items():
            cast(Encoder, encoder).fit(item for batch in batches() for item in batch.inputs[name])
        for name, decoder in self.decoders.items():
            cast(Decoder, decoder).fit(item for batch in batches() for item in batch.targets[name])

    def save_assets(self, folder: Path) -> None:
        """Write what the parts keep beside the weights."""
        for part in self.parts():
            part.save_assets(folder)

    def load_assets(self, folder: Path) -> None:
        """Read what `save_assets` wrote."""
        for part in self.parts():
            part.load_assets(folder)

    def part(self, parts: nn.ModuleDict, name: str, what: str) -> Any:
        """Return the encoder or decoder of modality `name`; raises `UserError` with the ones there are."""
        if name not in parts:
            raise UserError(f"this model has no {what} for '{name}'.{nearest(name, parts.keys())}")
        return parts[name]

    def encode(self, inputs: Any, source: str, *, randomness: torch.Generator | None = None) -> Placed:
        """Lead inputs of modality `source` into the shared space."""
        latent = self.part(self.encoders, source, "encoder")(inputs)
        return self.space(latent, source, randomness=randomness)

    def players(self, objectives: ObjectivesConfig) -> list[Player]:
        """Return whom the loop trains."""
        self.check(objectives)
        return [Player("model", self, lambda batch, randomness: self.loss(batch, objectives, randomness=randomness))]

    def check(self, objectives: ObjectivesConfig) -> None:
        """Raise `UserError` where an objective names a part that the model does not have."""
        for arrow in objectives.arrows:
            source, target = ends(arrow)
            self.part(self.encoders, source, "encoder")
            self.part(self.decoders, target, "decoder")
        if objectives.align and len(self.encoders) < 2:
            raise UserError("objectives.align needs two encoders or more; model.encoders has one.")
        if objectives.kl and not self.config.space.variational:
            raise UserError("objectives.kl needs model.space.variational=true.")

    def loss(self, batch: Batch, objectives: ObjectivesConfig, *, randomness: torch.Generator) -> LossTerms:
        """Return the loss of a batch: every arrow's, alignment, KL. Each encoder runs once, however many arrows use it."""
        sources = {ends(arrow)[0] for arrow in objectives.arrows} | (set(self.encoders) if objectives.align else set())
        placed = {source: self.encode(batch.inputs[source], source, randomness=randomness) for source in sorted(sources)}
        terms: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        for arrow, weight in objectives.arrows.items():
            source, target = ends(arrow)
            latent = self.space.drop_conditions(placed[source].latent, randomness=randomness)
            part = self.decoders[target].loss(latent, batch.targets[target], randomness=randomness)  # type: ignore[operator]
            for name, term in part.terms.items():
                terms[f"{arrow} {name}"] = term
                weights[f"{arrow} {name}"] = weight * part.weights.get(name, 1.0)
        if objectives.align:
            terms["align"], weights["align"] = self._alignment({name: each.latent for name, each in placed.items()}), objectives.align
        if objectives.kl:
            terms["kl"] = torch.stack([each.divergence for each in placed.values() if each.divergence is not None]).mean()
            weights["kl"] = objectives.kl
        return LossTerms(terms, weights)

    def _alignment(self, latents: Mapping[str, Latent]) -> Tensor:
        names = sorted(latents)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        return torch.stack([self.alignment(latents[a].pooled, latents[b].pooled) for a, b in pairs]).mean()

    @torch.no_grad()
    def generate(
        self,
        inputs: Any,
        *,
        source: str,
        target: str,
        seeds: list[int],
        settings: Mapping[str, Any] | None = None,
        negative: Any | None = None,
        start: Tensor | None = None,
    ) -> Any:
        """Lead inputs along the arrow source -> target: row i from `seeds[i]`.

        `settings` override the decoder's `default_settings`; `negative` are inputs of the same modality that guidance leads away from; `start` are
        outputs to start from. Raises `UserError` where the model has no such part or the decoder no such setting.
        """
        latent = self.encode(inputs, source).latent
        against = None if negative is None else self.encode(negative, source).latent
        return self.decode(latent, target=target, seeds=seeds, settings=settings, against=against, start=start)

    @torch.no_grad()
    def decode(
        self,
        latent: Latent,
        *,
        target: str,
        seeds: list[int],
        settings: Mapping[str, Any] | None = None,
        against: Latent | None = None,
        start: Tensor | None = None,
    ) -> Any:
        """Lead latents of the shared space out of it, as `generate` does; `against` is "no condition" unless given."""
        decoder = self.part(self.decoders, target, "decoder")
        defaults = decoder.default_settings()
        for name in settings or {}:
            if name not in defaults:
                raise UserError(f"the {target} decoder '{decoder.config.kind}' has no setting '{name}'.{nearest(name, defaults)}")
        away = self.space.null(latent) if against is None else against
        return decoder.generate(latent, against=away, seeds=seeds, settings=defaults | dict(settings or {}), start=start)
