"""Adversarial training as a second player: what the generator's turn leaves to the discriminator, and what both descend.

The generator moves first; the discriminator is shown what was made then, so that nothing is made twice. All that a resumed run needs (augmentation, turns,
vitals) is in buffers beside the discriminator's weights.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tonggan.discriminators.audio import VoiceConfig, VoiceDiscriminator
from tonggan.discriminators.augment import Augment, AugmentConfig
from tonggan.discriminators.features import FeatureDiscriminator, FeaturesConfig, Renoise
from tonggan.discriminators.image import ImageDiscriminator, ImageDiscriminatorConfig
from tonggan.discriminators.vitals import GENERATOR, Vitals, mean_distance
from tonggan.latent.record import Latent
from tonggan.layers.transformer import twice_differentiable
from tonggan.objectives.adversarial import RULES, feature_matching, squared_slopes
from tonggan.objectives.terms import Checkup, LossTerms
from tonggan.parts import Played
from tonggan.strict import Count, CountOrZero, NotNegative, Positive, Strict

FEW_LOOKED_AT = 8
"""Rows below which a look does not say that a discriminator knows the others by heart."""


class AdversarialConfig(Strict):
    """A discriminator beside the decoder of one arrow."""

    arrow: str | None = None
    """The direction whose outputs are judged: the first that is trained, unless set."""
    weight: Positive = 1.0
    """Of the adversarial loss beside the decoder's own."""
    loss: Literal["relativistic", "non_saturating", "hinge"] = "relativistic"
    penalty: NotNegative = 1.0
    """Weight of R1 and R2, the squared slopes of verdicts on real and on made outputs (gamma of R3GAN, arXiv:2501.05441, equations 5 and 6)."""
    penalty_every: Count = 4
    """They are computed every so many turns, that many times as heavy (lazy regularisation, StyleGAN2, arXiv:1912.04958, section 3.1)."""
    matching: NotNegative = 0.0
    """Weight of feature matching in the generator's loss: how far what the discriminator sees of a made output, layer by layer, is from what it sees of the
    real one (pix2pixHD, arXiv:1711.11585, equation 4). For outputs that their latents say nearly all of; it leaves less to noise."""
    mismatched: float = Field(default=0.5, ge=0, lt=1)
    """Share of the discriminator's loss that is about real outputs beside another row's latent (GAN-INT-CLS, arXiv:1605.05396, section 4.2)."""
    learning_rate: Positive | None = None
    """Of the discriminator; the generator's unless set."""
    augment: AugmentConfig = AugmentConfig()
    discriminator: ImageDiscriminatorConfig = ImageDiscriminatorConfig()
    voice: VoiceConfig = VoiceConfig()
    """The discriminator that takes its place where sounds are judged: what a vocoder makes of true spectrograms, segment by segment."""
    features: FeaturesConfig = FeaturesConfig()
    """The discriminator that takes its place beside `objectives.distil`: on the features of the teacher's network."""
    patience: CountOrZero = 3
    """Looks (one at each validation) in a row with the same trouble that end the run; 0 goes on whatever is seen."""


@dataclass(frozen=True)
class Moves:
    """What the generator's turn leaves: real and made outputs, the latents as the discriminator sees them, and the rows that they are of."""

    real: Tensor
    made: Tensor
    latent: Latent
    rows: Tensor


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """Let what is computed within lead no gradients to the parameters of `module`."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class Game(nn.Module):
    """The second player of one arrow: a discriminator, and the state of the game."""

    turns: Tensor

    def __init__(self, config: AdversarialConfig, discriminator: ImageDiscriminator | VoiceDiscriminator | FeatureDiscriminator) -> None:
        super().__init__()
        self.config, self.rule = config, RULES[config.loss]
        self.discriminator = discriminator
        self.augment = Renoise(config.features) if isinstance(discriminator, FeatureDiscriminator) else Augment(config.augment)
        self.vitals = Vitals(patience=config.patience)
        self.register_buffer("turns", torch.zeros((), dtype=torch.long))
        self.moves: Moves | None = None

    def challenge(self, played: Played, latent: Latent, target: Tensor, *, rows: Tensor, randomness: torch.Generator) -> LossTerms:
        """Return what the generator descends for what it `played`: its own terms, and to be taken for real; keeps all for the discriminator's turn.

        `target` (batch, ...) are real outputs for the same latents, `rows` (batch,) say which latents belong to the same output.
        """
        self.moves = Moves(target, played.made.detach(), latent.seen(), rows)
        judged, seen = played.made.view_as(played.made), self.moves.latent
        matched = self.config.matching > 0
        likewise = randomness.clone_state() if matched else randomness  # what is compared is augmented in the same way
        with still(self.discriminator):
            made, of_made = self.discriminator(self.augment(judged, randomness), seen)
            real, of_real = made, of_made
            if self.rule.paired or matched:
                with torch.no_grad():
                    real, of_real = self.discriminator(self.augment(target, likewise), seen)
        terms, weights = {"adversarial": self.rule.generator(made.float(), real.float()).mean()}, {"adversarial": self.config.weight}
        if judged.requires_grad and self._slopes_due:  # of the verdicts alone: what is compared would hide that nothing comes from them any more
            (slopes,) = torch.autograd.grad(terms["adversarial"], judged, retain_graph=True)
            self.vitals.moved(GENERATOR, float(torch.linalg.vector_norm(slopes.float())))
        if matched:
            terms["matching"], weights["matching"] = feature_matching(of_made, of_real), self.config.matching
        return LossTerms({**played.own.terms, **terms}, {**played.own.weights, **weights})

    @property
    def _slopes_due(self) -> bool:
        """Whether slopes are computed in this turn: those of verdicts for the vitals, R1 and R2."""
        return int(self.turns) % self.config.penalty_every == 0

    def turn(self, randomness: torch.Generator) -> LossTerms:
        """Return what the discriminator descends after a `challenge`: to tell real from made and from mismatched outputs, and, every few turns, R1 and R2."""
        assert self.moves is not None, "the generator moves first"
        moves, self.moves = self.moves, None
        count, share = len(moves.real), self.config.mismatched
        penalised = self.config.penalty > 0 and self._slopes_due
        at_features = self.discriminator.slopes_at_features
        # Slopes are those at what the discriminator sees: there is no second derivative of resampling.
        shown = self.augment(torch.cat([moves.real, moves.made]), randomness).detach().requires_grad_(penalised and not at_features)
        with twice_differentiable(shown.device.type) if penalised else nullcontext():
            latents = moves.latent.rows(torch.arange(2 * count, device=shown.device) % count)
            features = self.discriminator.look(shown, latents)
            features = features.float().detach().requires_grad_(penalised) if at_features else features
            both = self.discriminator.judge(features, latents).float()
            real, made = both.chunk(2)
            terms, weights = {"made": self.rule.discriminator(real, made).mean()}, {"made": 1 - share}
            other = self._elsewhere(moves, shown[:count], features[:count]) if share else None
            if other is not None:
                wrong = ~other.isnan()
                loss = self.rule.discriminator(real, other.nan_to_num()) * wrong
                terms["mismatched"], weights["mismatched"] = loss.sum() / wrong.sum().clamp_min(1), share
            if penalised:
                terms["r1"], terms["r2"] = (each.mean() for each in squared_slopes(both, features if at_features else shown).chunk(2))
                weights |= dict.fromkeys(("r1", "r2"), self.config.penalty / 2 * self.config.penalty_every)
        self._note(real.detach(), made.detach(), None if other is None else other.detach())
        terms |= {"margin": (real - made).mean().detach(), "augmented": self.augment.probability.clone()}
        return LossTerms(terms, weights | {"margin": 0.0, "augmented": 0.0})

    def _elsewhere(self, moves: Moves, shown: Tensor, features: Tensor) -> Tensor:
        """Return the verdicts (batch,) on real outputs beside the next row's latent; NaN where that is of the same output."""
        other = torch.arange(len(shown), device=shown.device).roll(1)
        latents = moves.latent.rows(other)
        if self.discriminator.slopes_at_features:  # features that are seen beside a latent, and are others beside another
            features = self.discriminator.look(shown, latents).float()
        same = moves.rows == moves.rows[other.to(moves.rows.device)]
        return self.discriminator.judge(features, latents).float().masked_fill(same.to(shown.device), math.nan)

    def _note(self, real: Tensor, made: Tensor, other: Tensor | None) -> None:
        self.turns += 1
        self.augment.adapt(self.rule.certainty(real, made))
        self.vitals.judged(real, made, other)

    @torch.no_grad()
    def look(self, real: Tensor, latent: Latent, made: Tensor, *, seeded: bool) -> Checkup:
        """Return how the game goes, seen on rows that are not trained on: real outputs (rows, ...), their latents, `made` (seeds, rows, ...) for them.

        Each seed is that of all rows, so that what differs from row to row is the captions' doing.
        """
        seen, false = (
            self.discriminator(self.augment(each, torch.Generator().manual_seed(0)), latent.seen())[0].float().mean() for each in (real, made[0])
        )
        usual = mean_distance(real)
        if usual > 0:
            seeds = sum(mean_distance(made[:, row]) for row in range(made.shape[1])) / made.shape[1] / usual if seeded else None
            captions = mean_distance(made[0]) / usual
        else:  # a single row, or rows that are the same: nothing is known of diversity
            seeds, captions = None, 1.0
        figures = self.vitals.figures(held_out=float(seen - false), captions=captions, seeds=seeds)
        figures["augmented"] = float(self.augment.probability)
        # What is matched with one real output a latent is to leave noise nothing to say: then seeds that are alike are no collapse.
        untold = {"diversity_seeds"} if self.config.matching else set()
        untold |= {"memorised"} if len(real) < FEW_LOOKED_AT else set()  # verdicts on few rows say as much of these rows
        told = {name: value for name, value in figures.items() if name not in untold}
        return Checkup(figures, self.vitals.trouble(told), self.vitals.suspected)
