"""The model: some encoders, one shared space, some decoders."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self, cast

import torch
from pydantic import BeforeValidator, SerializeAsAny, field_validator
from torch import Tensor, nn

from tonggan.data.loader import Batch
from tonggan.data.windows import Shifted
from tonggan.decoders import DECODERS
from tonggan.discriminators.game import Game
from tonggan.encoders import ENCODERS
from tonggan.errors import UserError, nearest
from tonggan.goals import TERMS, ObjectivesConfig
from tonggan.latent.alignment import Alignment
from tonggan.latent.memory import Memorable, Memory, MemoryConfig
from tonggan.latent.record import Latent, References
from tonggan.latent.space import Placed, SharedSpace, SpaceConfig
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, Encoder, Part, PartConfig, learns, part_config
from tonggan.strict import Strict


@dataclass(frozen=True)
class _Described:
    """What a recipe says of one part, with where it says so."""

    said: Any
    modality: str
    where: str
    known: Mapping[str, type[Part]]


def _settled(value: Any) -> Any:
    """Return the settings of a part; a mistake in them is told with the part's name, for they are read one by one."""
    if not isinstance(value, _Described):
        return value
    return part_config(value.said, known=value.known, modality=value.modality, where=value.where)


class ModelConfig(Strict):
    """Which parts a model has: a modality -> the settings of its encoder or decoder."""

    encoders: dict[str, SerializeAsAny[Annotated[PartConfig, BeforeValidator(_settled)]]]
    space: SpaceConfig = SpaceConfig()
    decoders: dict[str, SerializeAsAny[Annotated[PartConfig, BeforeValidator(_settled)]]]
    memory: MemoryConfig = MemoryConfig()
    """How decoders that take references find them."""

    def kept_in(self, folder: Path) -> Self:
        """Return settings of the same model that need nothing from outside of `folder`, where it was saved."""
        parts = {room: {name: part.kept_in(folder) for name, part in getattr(self, room).items()} for room in ("encoders", "decoders")}
        return self.model_copy(update=parts)

    @field_validator("encoders", mode="before")
    @classmethod
    def _encoders(cls, value: Any) -> dict[str, _Described]:
        return _parts(value, ENCODERS, "model.encoders")

    @field_validator("decoders", mode="before")
    @classmethod
    def _decoders(cls, value: Any) -> dict[str, _Described]:
        return _parts(value, DECODERS, "model.decoders")


def _parts(value: Any, known: Mapping[str, type[Part]], where: str) -> dict[str, _Described]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is a section: a modality and its settings a line, not {value!r}.")
    return {name: _Described(part, modality=name, where=f"{where}.{name}", known=known) for name, part in value.items()}


def ends(arrow: str) -> tuple[str, str]:
    """Split `text->image` into its ends."""
    source, separator, target = arrow.partition("->")
    if not separator:
        raise UserError(f"'{arrow}' is not an arrow. Write it as text->image.")
    return source.strip(), target.strip()


def given(values: Mapping[str, Any], name: str) -> Any:
    """Return what a batch has of modality `name`; raises `UserError` where the data has none."""
    if name not in values:
        raise UserError(f"the data has no {name}; it has {', '.join(values)}. Name other data, or parts and arrows that go with it.")
    return values[name]


def _number(term: Tensor, name: str) -> Tensor:
    """Return a plugin's term; raises `UserError` where it is not one number."""
    if term.shape != ():
        raise UserError(f"objectives.extra.{name} gives {' x '.join(map(str, term.shape))} numbers, where one is descended: return their mean.")
    return term


class CrossModalModel(nn.Module):
    """Encoders + space + decoders; knows no modality by name."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict({name: ENCODERS[part.kind](part) for name, part in config.encoders.items()})
        self.decoders = nn.ModuleDict({name: DECODERS[part.kind](part) for name, part in config.decoders.items()})
        self.space = SharedSpace(config.space, widths={name: cast(Encoder, encoder).width for name, encoder in self.encoders.items()})
        self.alignment = Alignment()
        self.memories = {
            name: Memory(config.memory, modality=name, references=cast(Decoder, decoder).references)
            for name, decoder in self.decoders.items()
            if cast(Decoder, decoder).references
        }
        for name, decoder in self.decoders.items():
            prompt = cast(Decoder, decoder).prompt
            if prompt is not None and prompt not in self.encoders:
                raise UserError(f"model.decoders.{name}.prompt: the model has no encoder for '{prompt}'.{nearest(prompt, self.encoders)}")

    @property
    def device(self) -> torch.device:
        """Where the model is; what it is given comes there by itself."""
        return self.space.null_point.device

    def parts(self) -> Iterable[Part]:
        """All encoders and decoders."""
        return [*self.encoders.values(), *self.decoders.values()]  # type: ignore[list-item]

    def fit(
        self, batches: Callable[[], Iterable[Batch]], memorable: Callable[[], Iterable[Memorable]] = list, *, known: Collection[Part] = ()
    ) -> None:
        """Let every part learn what gradients do not teach: vocabularies from batches, memories from the rows; each call of either begins anew.

        Parts in `known` have learned it already.
        """
        for name, encoder in self.encoders.items():
            if encoder not in known:
                cast(Encoder, encoder).fit(item for batch in batches() for item in given(batch.inputs, name))
        for name, decoder in self.decoders.items():
            if decoder not in known:
                cast(Decoder, decoder).fit(item for batch in batches() for item in given(batch.targets, name))
        for memory in self.memories.values():
            memory.fit(memorable())

    def save_assets(self, folder: Path) -> None:
        """Write what the parts keep beside the weights."""
        for part in self.parts():
            part.save_assets(folder)
        for memory in self.memories.values():
            memory.save(folder)

    def load_assets(self, folder: Path, *, memories: Path | None = None) -> None:
        """Read what `save_assets` wrote; the memories from a folder of their own where one is given."""
        for part in self.parts():
            part.load_assets(folder)
        for memory in self.memories.values():
            memory.load(memories or folder)

    def part(self, parts: nn.ModuleDict, name: str, what: str) -> Any:
        """Return the encoder or decoder of modality `name`; raises `UserError` with the ones there are."""
        if name not in parts:
            raise UserError(f"this model has no {what} for '{name}'.{nearest(name, parts.keys())} Choose a model that has one.")
        return parts[name]

    def encode(self, inputs: Any, source: str, *, randomness: torch.Generator | None = None) -> Placed:
        """Lead inputs of modality `source` into the shared space."""
        latent = self.part(self.encoders, source, "encoder")(inputs.to(self.device) if isinstance(inputs, Tensor) else inputs)
        return self.space(latent, source, randomness=randomness)

    @torch.no_grad()
    def latent(self, inputs: Any, *, source: str, target: str, excluded: list[int] | None = None, prompt: Any | None = None) -> Latent:
        """Lead inputs into the shared space, with what the memory of `target` (where there is one) recalls for them, but for the rows `excluded`.

        `prompt` is what is asked for beside, an input a row. Raises `UserError` where the model takes none on this way.
        """
        latent = self._with_references(self.encode(inputs, source).latent, inputs, source=source, target=target, excluded=excluded)
        if prompt is not None:
            return replace(latent, prompt=self.encode(prompt, self.check_prompt(source, target)).latent)
        return latent if self.prompt_kind(source, target) is None else replace(latent, prompt=self.space.no_prompt(latent))

    def hears(self, source: str, target: str) -> bool:
        """Return whether something that learns depends on what the decoder of `target` is told of `source`: it, an encoder that tells it, or the space."""
        return cast(Decoder, self.decoders[target]).listens or self._leads(source, target)

    def _leads(self, source: str, target: str) -> bool:
        """Return whether something learns of what leads from `source`, and from the prompt beside it, to the decoder of `target`."""
        told = [self.encoders[name] for name in (source, self.prompt_kind(source, target)) if name is not None]
        return any(map(learns, (*told, self.space)))

    def can_learn(self, objectives: ObjectivesConfig) -> bool:
        """Return whether something that is not frozen descends a term of `objectives`; the temperature of the alignment learns nothing by itself."""
        if objectives.decoder_alone() is not None:
            decoder = cast(Decoder, self.decoders[ends(objectives.trained()[0])[1]])
            return decoder.listens and learns(decoder)
        placed = (objectives.align > 0 or bool(objectives.added())) and (learns(self.encoders) or learns(self.space))
        return placed or any(learns(self.decoders[target]) or self._leads(source, target) for source, target in map(ends, objectives.trained()))

    def prompt_kind(self, source: str, target: str) -> str | None:
        """Return the modality of the prompts that may be given beside inputs on the way from `source` to `target`, None where none may."""
        kind = cast(Decoder, self.decoders[target]).prompt if target in self.decoders else None
        return None if kind == source else kind

    def check_prompt(self, source: str, target: str) -> str:
        """Return what `prompt_kind` does; raises `UserError` where no prompt may be given."""
        kind = self.prompt_kind(source, target)
        if kind is None:
            raise UserError(f"this model takes no prompt from {source} to {target}: it was trained without. Leave it out.")
        return kind

    def _with_references(self, latent: Latent, inputs: Any, *, source: str, target: str, **how: Any) -> Latent:
        memory = self.memories.get(target)
        if memory is None or memory.config.key != source:
            return latent
        recalled = memory.recall(inputs, **how)
        return latent if recalled is None else replace(latent, references=recalled.to(latent.tokens.device))

    def show(self, latent: Latent, shown: Tensor, *, target: str) -> Latent:
        """Let the decoder of `target` look at `shown` (rows, references, *shape of one output) first; what the memory recalled fills the places left."""
        room, count = self.part(self.decoders, target, "decoder").references, shown.shape[1]
        if count > room:
            raise UserError(f"{count} references given; the {target} decoder of this model looks at {room or 'none'}.")
        first = References(shown, torch.ones(shown.shape[:2], dtype=torch.bool)).to(latent.tokens.device)
        return replace(latent, references=first.then(latent.references, room=room))

    def loss(self, batch: Batch, objectives: ObjectivesConfig, *, randomness: torch.Generator, game: Game | None = None) -> LossTerms:
        """Return the loss of a batch: every arrow's, alignment, KL, and what plugins add. Each encoder runs once, however many arrows use it.

        In training, what the judged arrow makes is led before the `game`; in evaluation it is not, since what is said there changes with the discriminator.
        """
        heard = [way for way in map(ends, objectives.trained()) if self.hears(*way)]
        asked = {kind for way in heard if (kind := self.prompt_kind(*way)) is not None}
        sources = {source for source, _ in heard} | asked | (set(self.encoders) if objectives.align or objectives.added() else set())
        placed = {source: self.encode(given(batch.inputs, source), source, randomness=randomness) for source in sorted(sources)}
        terms: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        for arrow in objectives.trained():
            source, target = ends(arrow)
            decoder, truth = cast(Decoder, self.decoders[target]), given(batch.targets, target)
            judged = game is not None and self.training and arrow == objectives.judged()
            if (source, target) in heard:
                latent = self._told(placed, batch, source=source, target=target, randomness=randomness)
                played = decoder.play(latent, truth, randomness=randomness) if judged else None
                part = decoder.loss(latent, truth, randomness=randomness) if played is None else played.own
            else:
                latent, played = self.space.nothing(len(batch.indices)), decoder.audition(truth, randomness=randomness)
                part = LossTerms({}) if played is None else played.own
            if game is not None and judged:
                assert played is not None
                real = truth if played.real is None else played.real
                part = game.challenge(played, latent, real, rows=torch.as_tensor(batch.indices), randomness=randomness)
            for name, term in part.terms.items():
                terms[f"{arrow} {name}"] = term
                weights[f"{arrow} {name}"] = objectives.arrows[arrow] * part.weights.get(name, 1.0)
        latents = {name: each.latent for name, each in placed.items()}
        if objectives.align:
            rows = torch.as_tensor(batch.indices)
            terms["align"], weights["align"] = self._alignment(latents, rows), objectives.align
            if objectives.align_time_shifts is not None and batch.shifted is not None:
                terms["align in time"], weights["align in time"] = self._alignment_in_time(latents, batch.shifted, rows, randomness), objectives.align
        if objectives.kl and placed:
            terms["kl"] = torch.stack([each.divergence for each in placed.values() if each.divergence is not None]).mean()
            weights["kl"] = objectives.kl
        for name, weight in objectives.added().items():
            terms[f"extra {name}"], weights[f"extra {name}"] = _number(TERMS[name](latents, batch, randomness), name), weight
        return LossTerms(terms, weights)

    def _told(self, placed: Mapping[str, Placed], batch: Batch, *, source: str, target: str, randomness: torch.Generator) -> Latent:
        """Return what the decoder of `target` is told in training: with references and prompt, now and then without its condition."""
        latent = self._with_references(
            placed[source].latent, batch.inputs[source], source=source, target=target, excluded=batch.indices.tolist(), randomness=randomness
        )
        prompt = self.prompt_kind(source, target)
        latent = latent if prompt is None else replace(latent, prompt=placed[prompt].latent)
        return replace(self.space.drop_conditions(latent, randomness=randomness), changes=batch.changes)

    def _alignment(self, latents: Mapping[str, Latent], rows: Tensor) -> Tensor:
        names = sorted(latents)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        return torch.stack([self.alignment(latents[a].pooled, latents[b].pooled, rows) for a, b in pairs]).mean()

    def _alignment_in_time(self, latents: Mapping[str, Latent], shifted: Shifted, rows: Tensor, randomness: torch.Generator) -> Tensor:
        """Return the mean over all pairs of a modality that is there at another time, too, and one that has time."""
        losses = []
        for name in sorted(shifted.inputs.keys() & latents.keys()):
            moved = self.encode(shifted.inputs[name], name, randomness=randomness).latent
            losses += [
                self.alignment.in_time(latent, latents[name], moved, shifted.real, rows)
                for other, latent in sorted(latents.items())
                if other != name and latent.seconds is not None
            ]
        assert losses, "there are encoders of two modalities that have time"
        return torch.stack(losses).mean()

    def generate(
        self,
        inputs: Any,
        *,
        source: str,
        target: str,
        seeds: list[int],
        settings: Mapping[str, Any] | None = None,
        excluded: list[int] | None = None,
    ) -> Any:
        """Lead inputs along the arrow source -> target, row i from `seeds[i]`, as `decode` does.

        `excluded` are the rows that the inputs belong to: a memory that was fitted to them recalls none to itself, as in training.
        """
        return self.decode(self.latent(inputs, source=source, target=target, excluded=excluded), target=target, seeds=seeds, settings=settings)

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
        """Lead latents out of the shared space: row i from `seeds[i]`.

        `settings` override the decoder's `default_settings`; guidance leads away from `against`, "no condition" unless given; `start` are outputs to start
        from. Raises `UserError` where the model has no such decoder, or the decoder not these settings.
        """
        decoder = self.part(self.decoders, target, "decoder")
        chosen = decoder.settings_with(settings or {})
        away = self.space.null(latent) if against is None else against
        if latent.prompt is not None and away.prompt is None:
            away = replace(away, prompt=self.space.null(latent.prompt))
        begin = None if start is None else start.to(self.device)
        return decoder.generate(latent, against=away, seeds=seeds, settings=chosen, start=begin)
