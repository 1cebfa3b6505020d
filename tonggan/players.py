"""Players: whom the loop trains, and the loss that each descends. The model; its decoder alone beside a teacher or a reference; a discriminator beside either."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from tonggan.data.loader import Batch
from tonggan.discriminators.features import FeatureDiscriminator
from tonggan.discriminators.game import AdversarialConfig, Game
from tonggan.discriminators.vitals import DISCRIMINATOR
from tonggan.errors import UserError, nearest
from tonggan.goals import TERMS, DistilConfig, ObjectivesConfig, PreferConfig
from tonggan.judges import JUDGES, check_judged
from tonggan.model import CrossModalModel, ends, given
from tonggan.objectives.terms import Checkup, LossTerms
from tonggan.parts import Decoder, Encoder, Part

Loss = Callable[[Batch, torch.Generator], LossTerms]


@dataclass(frozen=True)
class Player:
    """A set of parameters and the loss it descends: all the loop knows of a model.

    Attributes:
        optimizer: settings of the recipe's optimizer that are otherwise for this player.
        moved: told the norm of each gradient (before clipping) that the player has followed.
        look: called with batches that are not trained on at every validation, the model in evaluation mode.
        watch: submodule of buffers by which the player is only watched: where a checkpoint has others, they start anew.
        suspected: whether the last look, of an earlier sitting, too, saw a trouble.
    """

    name: str
    module: nn.Module
    loss: Loss
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    moved: Callable[[float], None] | None = None
    look: Callable[[Sequence[Batch]], Checkup] | None = None
    watch: str | None = None
    suspected: Callable[[], bool] = bool


LOOKED_AT = 32
"""Rows at which a game is looked at."""
SEEDS_LOOKED_AT = 3


def players(model: CrossModalModel, objectives: ObjectivesConfig, *, teacher: CrossModalModel | None = None) -> list[Player]:
    """Return whom the loop trains; with `objectives.distil` or `objectives.prefer` the decoder alone, beside `teacher`'s, which does not move.

    Raises `UserError` as `check_objectives` does, and for a teacher or a reference of another kind.
    """
    check_objectives(model, objectives)
    if objectives.adversarial is not None and objectives.distil is None:
        return _adversaries(model, objectives, objectives.adversarial)
    alone = objectives.decoder_alone()
    if alone is None:
        return [Player("model", model, lambda batch, randomness: model.loss(batch, objectives, randomness=randomness))]
    if teacher is None:
        raise UserError(f"objectives.{alone} needs a model beside.")
    source, target = ends(objectives.trained()[0])
    decoder = cast(Decoder, model.decoders[target])
    theirs = teacher.part(teacher.decoders, target, "decoder").requires_grad_(False).eval()
    if objectives.prefer is not None:
        decoder.check_reference(theirs)
        return [Player("model", decoder, _preferring(model, objectives.prefer, source, target, theirs))]
    assert objectives.distil is not None
    if objectives.adversarial is None:
        return [Player("model", decoder, _distilling(model, objectives.distil, source, target, theirs))]
    network, blocks = theirs.feature_network()
    game = Game(
        objectives.adversarial,
        FeatureDiscriminator(network, objectives.adversarial.features, blocks=blocks, latent_width=model.config.space.width),
    )
    return _against(model, game, decoder, _distilling(model, objectives.distil, source, target, theirs, game), source, target)


def _adversaries(model: CrossModalModel, objectives: ObjectivesConfig, how: AdversarialConfig) -> list[Player]:
    """Return the model and the discriminator of its judged arrow, which moves second."""
    source, target = ends(cast(str, objectives.judged()))
    game = Game(how, JUDGES[target].discriminator(how, cast(Decoder, model.decoders[target]), model.config.space.width))
    return _against(model, game, model, lambda batch, randomness: model.loss(batch, objectives, randomness=randomness, game=game), source, target)


def _against(model: CrossModalModel, game: Game, module: nn.Module, loss: Loss, source: str, target: str) -> list[Player]:
    """Return the player of `module` and, second, the discriminator of a game about what the decoder of `target` makes of `source`."""
    decoder, rate = cast(Decoder, model.decoders[target]), game.config.learning_rate

    def look(batches: Sequence[Batch]) -> Checkup:
        real = given(batches[0].targets, target)[:LOOKED_AT]
        count = len(real)
        if (heard := decoder.audition(real, randomness=torch.Generator().manual_seed(0))) is not None:
            return game.look(cast(torch.Tensor, heard.real), model.space.nothing(count), heard.made.unsqueeze(0), seeded=False)
        inputs, rows = given(batches[0].inputs, source)[:LOOKED_AT], batches[0].indices[:LOOKED_AT].tolist()
        latent = model.latent(inputs, source=source, target=target, excluded=rows)
        seeds = range(SEEDS_LOOKED_AT if decoder.seeded else 1)
        made = [model.decode(latent, target=target, seeds=[seed] * count) for seed in seeds]
        return game.look(real, latent, torch.stack(made), seeded=decoder.seeded)

    otherwise = {"kind": "adam", "betas": (0.0, 0.99), "weight_decay": 0.0} | ({} if rate is None else {"learning_rate": rate})
    return [
        Player("model", module, loss),
        Player(
            "discriminator",
            game,
            lambda batch, randomness: game.turn(randomness),
            optimizer=otherwise,
            moved=partial(game.vitals.moved, DISCRIMINATOR),
            look=look,
            watch="vitals",
            suspected=lambda: game.vitals.suspected,
        ),
    ]


def _distilling(model: CrossModalModel, how: DistilConfig, source: str, target: str, teacher: Part, game: Game | None = None) -> Loss:
    decoder = cast(Decoder, model.decoders[target])
    if not isinstance(teacher, type(decoder)):
        raise UserError(f"objectives.distil.teacher: its {target} decoder is of kind '{teacher.config.kind}', this model's '{decoder.config.kind}'.")
    asked = model.prompt_kind(source, target)

    def loss(batch: Batch, randomness: torch.Generator) -> LossTerms:
        prompt = None if asked is None else given(batch.inputs, asked)
        with torch.no_grad():  # the decoder alone moves
            latent = model.latent(given(batch.inputs, source), source=source, target=target, excluded=batch.indices.tolist(), prompt=prompt)
            latent = replace(model.space.drop_prompts(latent, randomness=randomness), changes=batch.changes)
            truth, against = given(batch.targets, target), model.space.null(latent)
        if game is None or not decoder.training:
            return decoder.distil(latent, truth, against=against, teacher=teacher, how=how, randomness=randomness)
        played = decoder.finish(latent, truth, against=against, teacher=teacher, how=how, randomness=randomness)
        return game.challenge(played, latent, truth, rows=torch.as_tensor(batch.indices), randomness=randomness)

    return loss


def _preferring(model: CrossModalModel, how: PreferConfig, source: str, target: str, reference: Part) -> Loss:
    decoder = cast(Decoder, model.decoders[target])

    def loss(batch: Batch, randomness: torch.Generator) -> LossTerms:
        assert batch.pairs is not None
        with torch.no_grad():  # the decoder alone moves
            asked = model.latent(batch.pairs.prompts, source=source, target=target)
        said = decoder.prefer(asked, batch.pairs.chosen, batch.pairs.rejected, reference=reference, how=how, randomness=randomness)
        if not how.keep:
            return said
        with torch.no_grad():
            latent = model.latent(given(batch.inputs, source), source=source, target=target, excluded=batch.indices.tolist())
            latent = replace(model.space.drop_conditions(latent, randomness=randomness), changes=batch.changes)
        kept = decoder.keep(latent, given(batch.targets, target), reference=reference, how=how, randomness=randomness)
        return LossTerms({**said.terms, "keep": kept}, {**said.weights, "keep": how.keep})

    return loss


def check_objectives(model: CrossModalModel, objectives: ObjectivesConfig) -> None:
    """Raise `UserError` where an objective names a part that the model does not have, or that it says nothing of."""
    for arrow in objectives.arrows:
        source, target = ends(arrow)
        model.part(model.encoders, source, "encoder")
        model.part(model.decoders, target, "decoder")
    for name in objectives.added():
        if name not in TERMS:
            raise UserError(f"objectives.extra: no plugin of this recipe has a term '{name}'.{nearest(name, TERMS)}")
    if objectives.align and len(model.encoders) < 2:
        raise UserError("objectives.align needs two encoders or more; model.encoders has one.")
    if objectives.kl and not model.config.space.variational:
        raise UserError("objectives.kl needs model.space.variational=true.")
    if objectives.align_time_shifts is not None and sum(cast(Encoder, encoder).timed for encoder in model.encoders.values()) < 2:
        raise UserError("objectives.align_time_shifts needs encoders of two modalities that have time, video and audio.")
    if objectives.distil is not None:
        _check_distil(model, objectives.distil, ends(objectives.trained()[0])[1])
    check_judged(model, objectives)


def _check_distil(model: CrossModalModel, how: DistilConfig, target: str) -> None:
    decoder = cast(Decoder, model.decoders[target])
    decoder.check_distil(how)
    if how.guidance_scale != 1 and getattr(decoder.config, "guidance_scale", 1) != 1:
        raise UserError(
            f"objectives.distil teaches guidance, which model.decoders.{target}.guidance_scale would add again: set one of the two scales to 1."
        )


def check_used(objectives: ObjectivesConfig) -> None:
    """Raise `UserError` for a setting that nothing would go by, since the decoder of the one arrow is trained alone."""
    alone = objectives.decoder_alone()
    if alone is None:
        return
    idle = [name for name in ("align", "align_time_shifts", "kl") if getattr(objectives, name)]
    idle += [f"extra.{name}" for name in objectives.added()]
    if idle:
        raise UserError(
            f"objectives.{alone} trains a decoder alone, so {' and '.join(f'objectives.{name}' for name in idle)} would have no effect. "
            f"Set {'it' if len(idle) == 1 else 'them'} to 0{', align_time_shifts to null' if objectives.align_time_shifts else ''}."
        )
    (arrow,) = objectives.trained()
    if objectives.arrows[arrow] != 1:
        raise UserError(
            f"objectives.arrows: beside objectives.{alone} the weight of {arrow} ({objectives.arrows[arrow]:g}) would have no effect. Set it to 1."
        )
