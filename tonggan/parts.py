"""The contract of the parts: what a recipe may say of one, and how a name in it becomes a class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import torch
from pydantic import ValidationError, model_validator
from torch import Tensor, nn

from tonggan.errors import UserError, nearest
from tonggan.latent.record import Latent
from tonggan.objectives.terms import LossTerms
from tonggan.strict import Strict, explain


class PartConfig(Strict):
    """Settings of one encoder or decoder; `kind` is its name in the folder's dictionary."""

    kind: str
    head_width_multiple: ClassVar[int] = 1
    """What the width of a head is a multiple of: 2 where rotary positions turn its numbers pair by pair in time, 4 where they do by row and by column."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Raise `UserError` for a width that heads cannot share, and for heads that their positions cannot turn."""
        width, heads = getattr(self, "width", 0), getattr(self, "heads", 1)
        if width % heads:
            raise UserError(f"{self.kind}: width {width} cannot be split into {heads} heads.")
        if width // heads % self.head_width_multiple:
            raise UserError(
                f"{self.kind}: width {width} in {heads} heads is {width // heads} each, where rotary positions want a multiple of "
                f"{self.head_width_multiple}. Choose another number of heads, or another width."
            )
        return self

    def kept_in(self, folder: Path) -> Self:
        """Return settings of the same part that need nothing from elsewhere, `folder` holding what its `save_assets` wrote and its weights."""
        return self


C = TypeVar("C", bound=PartConfig)


class Part(nn.Module, Generic[C]):
    """What encoders and decoders have in common: settings, and files beside the weights (a vocabulary, say)."""

    modality: ClassVar[str]
    Config: ClassVar[type[PartConfig]]

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config

    def fit(self, examples: Iterable[Any]) -> None:
        """Learn from examples what is not learned by gradients, once, before training."""

    def save_assets(self, folder: Path) -> None:
        """Write what `fit` learned into `folder`."""

    def load_assets(self, folder: Path) -> None:
        """Read what `save_assets` wrote."""

    def check_taken(self) -> None:
        """Raise `UserError` where what was taken over from a trained part is not enough for these settings."""


def learns(module: nn.Module) -> bool:
    """Return whether a parameter of `module` is not frozen."""
    return any(parameter.requires_grad for parameter in module.parameters())


class Encoder(Part[C]):
    """inputs of one modality -> `Latent` of `self.width`."""

    width: int
    timed: ClassVar[bool] = False
    """Whether its tokens have a time (`Latent.seconds`)."""

    def notices(self, inputs: Any) -> list[str]:
        """Return what a user should know of these inputs (a caption that is cut, say), a line each."""
        return []

    def read(self, text: str) -> str:
        """Return what is read of a text: the beginning, where it is too long."""
        return text

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text in scripts that the encoder was not trained on, where it can tell."""
        return []

    def forward(self, inputs: Any) -> Latent:
        """Encode a batch."""
        raise NotImplementedError


@dataclass(frozen=True)
class Played:
    """What a decoder made in training, (batch, ...) with gradients, for a discriminator to judge; and what it descends besides.

    `real` is what it should have been, where that is not the whole target (a segment of it, say).
    """

    made: Tensor
    own: LossTerms
    real: Tensor | None = None


class Distilling(Protocol):
    """What a decoder asks of the settings that it is distilled by (`DistilConfig`)."""

    @property
    def guidance_scale(self) -> float:
        """Guidance that the teacher draws with."""
        ...

    @property
    def steps(self) -> int:
        """Steps of the teacher from noise to output."""
        ...

    @property
    def stride(self) -> int | None:
        """Steps of the teacher that one of the student's leads over; None for as many as make the student's own number."""
        ...


class Preferring(Protocol):
    """What a decoder asks of the settings that it learns from preferences by (`PreferConfig`)."""

    @property
    def beta(self) -> float:
        """How much a preference weighs against staying with the reference."""
        ...

    @property
    def times(self) -> Literal["training", "drawing"]:
        """Times at which velocities are compared."""
        ...


class Decoder(Part[C]):
    """`Latent` of the shared space -> one modality."""

    references = 0
    """How many outputs that the model's memory recalls this decoder looks at."""
    prompt: str | None = None
    """Modality of what this decoder may be told beside what it starts from (a caption to a clip); None where it takes no prompt."""
    lossless: ClassVar[bool] = False
    """Whether it has no loss of its own, so that only a discriminator can teach it."""
    seeded: ClassVar[bool] = True
    """Whether outputs for one latent differ from seed to seed."""

    @property
    def listens(self) -> bool:
        """Whether what of it learns depends on the latent; where it does not, and nothing that leads there learns, no encoder is run for it in training."""
        return True

    def loss(self, latent: Latent, target: Any, *, randomness: torch.Generator) -> LossTerms:
        """Return what is to be descended for this batch; random draws come from the CPU generator `randomness` alone."""
        raise NotImplementedError

    def play(self, latent: Latent, target: Any, *, randomness: torch.Generator) -> Played:
        """Return an output a row, and what is descended beside its verdict; for decoders that a discriminator can teach."""
        raise UserError(f"objectives.adversarial: a decoder of kind '{self.config.kind}' cannot be taught by a discriminator. Leave it out.")

    def check_judged(self) -> None:
        """Raise `UserError` where what these settings make is not what a discriminator would be shown in training."""

    def audition(self, target: Any, *, randomness: torch.Generator) -> Played | None:
        """Return what learns of it without a latent, at play: what it makes of `target` alone, and what that descends; None where there is nothing such."""
        return None

    def check_distil(self, how: Distilling) -> None:
        """Raise `UserError` where this decoder cannot be distilled, or not as `how` says."""
        raise UserError(f"a decoder of kind '{self.config.kind}' cannot be distilled; leave out objectives.distil.")

    def distil(
        self, latent: Latent, target: Any, *, against: Latent, teacher: "Decoder[Any]", how: Distilling, randomness: torch.Generator
    ) -> LossTerms:
        """Return what is to be descended to do in one step what `teacher`, a decoder of this kind, does in many by `how`."""
        raise NotImplementedError

    def finish(
        self, latent: Latent, target: Any, *, against: Latent, teacher: "Decoder[Any]", how: Distilling, randomness: torch.Generator
    ) -> Played:
        """Return an output a row, made as in drawing, in few steps, and what `distil` would return; for decoders that can be distilled."""
        raise NotImplementedError

    def feature_network(self) -> tuple[nn.Module, int]:
        """Return the network whose features a discriminator can be built on, and how many blocks it has."""
        raise UserError(f"objectives.distil with objectives.adversarial needs a teacher of kind 'image_flow', not '{self.config.kind}'.")

    def check_reference(self, reference: Part[Any]) -> None:
        """Raise `UserError` where this decoder cannot learn from preferences, or not beside `reference`."""
        raise UserError(f"a decoder of kind '{self.config.kind}' cannot learn from preferences; leave out objectives.prefer.")

    def prefer(self, latent: Latent, chosen: Any, rejected: Any, *, reference: Part[Any], how: Preferring, randomness: torch.Generator) -> LossTerms:
        """Return what is to be descended to make what is like `chosen` likelier, against `rejected`, than `reference` does, by `how`."""
        raise NotImplementedError

    def keep(self, latent: Latent, target: Any, *, reference: Part[Any], how: Preferring, randomness: torch.Generator) -> Tensor:
        """Return how far this decoder has gone from `reference` on data, as a scalar to be descended."""
        raise NotImplementedError

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Return one output a row: row i from `seeds[i]` alone, up to how sums are rounded in batches of another size (a grey level of 255 in pictures).

        `against` is what guidance leads away from, `settings` as `default_settings` names them, `start` one output a row to start from instead of
        from nothing. Raises `UserError` for a `start` where the decoder cannot use one.
        """
        raise NotImplementedError

    def default_settings(self) -> dict[str, Any]:
        """Return the settings that `generate` takes, with their defaults (`num_inference_steps`, `guidance_scale`)."""
        return {}

    def settings_with(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the default settings with `chosen` in their place; raises `UserError` for one that is not known, or that a recipe might not hold either."""
        defaults = self.default_settings()
        for name in chosen:
            if name not in defaults:
                raise UserError(f"the {self.modality} decoder '{self.config.kind}' has no setting '{name}'.{nearest(name, defaults)}")
        held = {name: value for name, value in chosen.items() if name in type(self.config).model_fields}
        try:
            type(self.config).model_validate(self.config.model_dump() | held)
        except ValidationError as error:
            raise UserError(explain(error, type(self.config))) from error
        if chosen.get("references", 0) > self.references:
            raise UserError(f"references={chosen['references']}: the {self.modality} decoder looks at {self.references} at the most.")
        return defaults | dict(chosen)


def part_config(value: Any, *, known: Mapping[str, type[Part]], modality: str, where: str) -> PartConfig:
    """Turn what a recipe says of a part into the settings of the part it names.

    Raises `UserError` where the name is unknown or belongs to another modality, and for a key that it does not know.
    """
    if isinstance(value, PartConfig):
        return value
    if not isinstance(value, Mapping) or "kind" not in value:
        raise UserError(f"{where} needs a 'kind'.{nearest('', known)}")
    fitting = {name: part for name, part in known.items() if part.modality == modality}
    if value["kind"] not in fitting:
        raise UserError(f"{where}.kind: '{value['kind']}' is not known for {modality}.{nearest(str(value['kind']), fitting)}")
    settings = fitting[value["kind"]].Config
    for key in value:
        if key not in settings.model_fields:
            raise UserError(f"{where}: unknown key '{key}'.{nearest(str(key), settings.model_fields)}")
    return settings.model_validate(dict(value))
