"""Judges: for each modality whose outputs can be judged its discriminator, and what a recipe may ask of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tonggan.discriminators.audio import VoiceDiscriminator
from tonggan.discriminators.game import AdversarialConfig
from tonggan.discriminators.image import ImageDiscriminator
from tonggan.errors import UserError, nearest
from tonggan.goals import ObjectivesConfig
from tonggan.model import CrossModalModel, ends
from tonggan.parts import Decoder, learns


@dataclass(frozen=True)
class Judge:
    """What judges the outputs of a modality.

    Attributes:
        settings: name of its settings within `objectives.adversarial`.
        judged: what is judged, in plain words.
        discriminator: makes it of the settings, the decoder that is judged, and the width of the latent space.
        check: raises `UserError` for a decoder that it cannot judge and for settings that are there for others.
    """

    settings: str
    judged: str
    discriminator: Callable[[AdversarialConfig, Decoder, int], ImageDiscriminator | VoiceDiscriminator]
    check: Callable[[AdversarialConfig, CrossModalModel, Decoder], None]


def _of_pictures(how: AdversarialConfig, decoder: Decoder, width: int) -> ImageDiscriminator:
    return ImageDiscriminator(how.discriminator, size=cast(Any, decoder.config).size, latent_width=width)


def _check_pictures(how: AdversarialConfig, model: CrossModalModel, decoder: Decoder) -> None:
    if model.config.space.condition_dropout:
        raise UserError("objectives.adversarial judges a picture beside its caption: set model.space.condition_dropout=0.")


def _of_voices(how: AdversarialConfig, decoder: Decoder, width: int) -> VoiceDiscriminator:
    return VoiceDiscriminator(how.voice)


def _check_voices(how: AdversarialConfig, model: CrossModalModel, decoder: Decoder) -> None:
    vocoder = getattr(decoder, "vocoder", None)
    if vocoder is None or not learns(vocoder):
        raise UserError("objectives.adversarial: of sounds the vocoder is judged, and this model has none that learns (decoders.audio.vocoder).")
    if how.mismatched:
        raise UserError("objectives.adversarial.mismatched: a voice is judged by itself, whatever its latent. Set it to 0.")
    if how.augment.kind != "none":
        raise UserError("objectives.adversarial.augment changes pictures; sounds are judged. Leave it out.")


JUDGES: Mapping[str, Judge] = {
    "image": Judge("discriminator", "pictures are", _of_pictures, _check_pictures),
    "audio": Judge("voice", "sounds are", _of_voices, _check_voices),
}
"""By modality. Beside `objectives.distil` the teacher's features are judged in place of what is made."""
OF_FEATURES = "features"


def check_judged(model: CrossModalModel, objectives: ObjectivesConfig) -> None:
    """Raise `UserError` where nothing that is trained can be judged as `objectives.adversarial` asks, and where a decoder that must be judged is not."""
    judged, how = objectives.judged(), objectives.adversarial
    if how is not None and judged is None:
        raise UserError("objectives.adversarial: no arrow is trained whose outputs could be judged. Give one in objectives.arrows a weight.")
    if judged is not None and how is not None:
        if judged not in objectives.trained():
            raise UserError(f"objectives.adversarial.arrow: '{judged}' is not trained in this recipe.{nearest(judged, objectives.trained())}")
        target = ends(judged)[1]
        decoder, distilled = cast(Decoder, model.decoders[target]), objectives.distil is not None
        if target not in JUDGES and not distilled:
            raise UserError(
                f"objectives.adversarial: there is no discriminator for {target}, only for {', '.join(JUDGES)}. Leave it out, or set its arrow."
            )
        _check_idle(how, None if distilled else JUDGES[target])
        if not distilled:
            JUDGES[target].check(how, model, decoder)
        decoder.check_judged()
    for arrow in objectives.trained():
        decoder = cast(Decoder, model.decoders[ends(arrow)[1]])
        if arrow != judged and decoder.lossless:
            raise UserError(f"{arrow}: '{decoder.config.kind}' learns from a discriminator alone. Give the recipe objectives.adversarial.")


def _check_idle(how: AdversarialConfig, judge: Judge | None) -> None:
    """Raise `UserError` for settings that nothing would go by, of other discriminators than the one that is used; None is that of features."""
    usual = AdversarialConfig()
    used, judged = (judge.settings, judge.judged) if judge is not None else (OF_FEATURES, "the teacher's features are")
    idle = [name for name in (*(each.settings for each in JUDGES.values()), OF_FEATURES) if name != used] + (["augment"] if judge is None else [])
    for name in idle:
        if getattr(how, name) != getattr(usual, name):
            raise UserError(f"objectives.adversarial.{name} has no use here, where {judged} judged (objectives.adversarial.{used}). Leave it out.")
