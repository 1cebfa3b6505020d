"""The sections of a recipe that say what is trained on, how parameters move, how long, and what is written meanwhile."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tonggan.data.augment import Augmentation
from tonggan.data.loader import FIELD, Balance, Language, Phrasings
from tonggan.modalities import Framing
from tonggan.strict import NotNegative, Strict


class LanguageConfig(Strict):
    """How often a language is drawn and in which phrasings."""

    weight: NotNegative = 1.0
    """How often it is drawn, relative to the other languages that a row has."""
    templates: tuple[str, ...] = Field(default=("{caption}",), min_length=1)
    """`{caption}` is one of the row's captions in this language; any other name is looked up in the row's tags (`{label.en}`, `{style}`)."""


Spread = Annotated[float, Field(ge=0, le=2)]
"""A standard deviation; above 2, whatever its unit here, nothing is left to be seen."""


class AugmentConfig(Strict):
    """How training pictures are changed; the settings of `tonggan.data.augment.Augmentation`."""

    probability: float = Field(default=0.12, ge=0, le=1)
    """Share of the pictures that each change is made to."""
    flip: bool = False
    """Mirror left and right: not where text or direction matters."""
    shift: Spread = 0.0
    """Standard deviation of the shift, as a share of the side."""
    scale: Spread = 0.0
    """Standard deviation of the size, in octaves."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest turn in degrees, to either side."""
    brightness: Spread = 0.0
    """Standard deviation of what is added to all pixels, black being -1 and white 1."""
    saturation: Spread = 0.0
    """Standard deviation of the factor of colour, in octaves."""
    background: Literal["white", "mirror"] = "white"
    """What stands where nothing was: white for drawings, the mirrored picture for photographs."""


class BalanceConfig(Strict):
    """Which rows are drawn more often than others; the settings of `tonggan.data.loader.Balance`."""

    by: str
    """A template over the row's tags, as in phrasings: rows that fill it the same are one group. Rows that cannot are each their own."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """A group's share of the samples goes by its number of rows to this power: 1 leaves the data as it is, 0 gives every group as many samples."""

    @field_validator("by")
    @classmethod
    def _asks_for_a_tag(cls, by: str) -> str:
        if not FIELD.search(by):
            raise ValueError(f"'{by}' is the same for every row. Write the tag in braces: '{{{by}}}'.")
        return by


class DataConfig(Strict):
    """What is trained on."""

    path: str
    """A data set in any known layout, or a pack."""
    source: str = ""
    """Origin and licence of the data, for the card of the model."""
    size: int = Field(default=64, gt=0)
    """Pixels a side that pictures and frames are brought to."""
    fit: Literal["crop", "pad"] = "crop"
    """Not square: cut to the middle square, or padded with white."""
    frames_per_second: float = Field(default=25.0, gt=0)
    """Rate that clips are brought to, by time stamp."""
    sample_rate_hz: int = Field(default=16_000, gt=0)
    """Rate that sounds are brought to."""
    clip_seconds: float = Field(default=2.56, gt=0)
    """Length of what is seen and made at once, of videos and sounds: training takes a window of so many seconds from anywhere in a longer clip."""
    train_split: str = "train"
    """The split that is trained on."""
    hold_out: float = Field(default=0.02, ge=0, lt=1)
    """Share of the training split that is never trained on: held-out loss and the choice of the best checkpoint use it, so that test splits stay untouched."""
    hold_out_seed: int = Field(default=0, ge=0)
    """Which rows that are: the same at every `seed`, so that held-out losses of several compare."""
    max_broken_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of files that may be unreadable; above it nothing is trained."""
    phrasings: dict[str, LanguageConfig] | None = None
    """How captions are phrased for encoders, by language."""
    target_phrasings: dict[str, LanguageConfig] | None = None
    """How captions are phrased for decoders that should say them; as for encoders unless set."""

    balance: BalanceConfig | None = None
    """Samples of small groups are drawn more often, of large ones less; every row as often as the next unless set."""
    augment: AugmentConfig | None = None
    """How training pictures are changed; the decoder is told what was done where it takes `augmentation_labels`."""

    @property
    def framing(self) -> Framing:
        """The form that pictures, videos and sounds have."""
        return Framing(self.size, self.fit, self.frames_per_second, self.sample_rate_hz, self.clip_seconds)

    def augmentation(self) -> Augmentation | None:
        """Return the augmentation as the loader takes it."""
        return None if self.augment is None else Augmentation(**self.augment.model_dump())

    def loader_balance(self) -> Balance | None:
        """Return the balance as the loader takes it."""
        return None if self.balance is None else Balance(**self.balance.model_dump())

    def loader_phrasings(self) -> Phrasings | None:
        """Return the phrasings for encoders as the loader takes them."""
        return _languages(self.phrasings)

    def loader_target_phrasings(self) -> Phrasings | None:
        """Return the phrasings for decoders as the loader takes them."""
        return _languages(self.target_phrasings)


def _languages(phrasings: Mapping[str, LanguageConfig] | None) -> Phrasings | None:
    if phrasings is None:
        return None
    return {name: Language(weight=each.weight, templates=each.templates) for name, each in phrasings.items()}


Decay = Annotated[float, Field(ge=0, lt=1)]
"""What is left of a moving average after a step."""


class OptimizerConfig(Strict):
    """How parameters move."""

    kind: Literal["adam", "adamw", "muon"] = "adamw"
    """`muon` moves the matrices of the blocks by Muon (Jordan 2024; arXiv:2502.16982) and all else by AdamW."""
    learning_rate: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    """Peak rate of Adam and AdamW."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay rates of the two moments."""
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Decoupled decay of matrices."""
    muon_learning_rate: float = Field(default=2e-3, ge=0, allow_inf_nan=False)
    """Peak rate of Muon."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""


class ScheduleConfig(Strict):
    """How long, counted in samples seen; the learning rate warms up, stays, and falls linearly to zero over the last share."""

    samples: int | None = Field(default=None, gt=0)
    """Samples that are seen in all; or `epochs`."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training rows; or `samples`."""
    batch_size: int = Field(default=128, gt=0)
    """Samples a step."""
    warmup_samples: int = Field(default=20_000, ge=0)
    """Samples over which the rate rises from zero."""
    decay_share: float = Field(default=0.3, ge=0, le=1)
    """Last share of the samples, over which the rate falls to zero."""

    @model_validator(mode="after")
    def _one_length(self) -> "ScheduleConfig":
        if self.samples is not None and self.epochs is not None:
            raise ValueError("samples and epochs are both set: leave one out, or set it to null (schedule.epochs=null)")
        if self.samples is None and self.epochs is None:
            raise ValueError("set either samples or epochs, such as schedule.epochs=20")
        return self


class MonitorConfig(Strict):
    """What is written while training, every so many optimizer steps."""

    log_every: int = Field(default=10, gt=0)
    """A line in journal.jsonl and TensorBoard."""
    validate_every: int = Field(default=200, gt=0)
    """Held-out loss; the best average so far becomes `model/`."""
    preview_every: int = Field(default=400, gt=0)
    """Outputs for a few held-out rows, in `samples/`."""
    checkpoint_every: int = Field(default=200, gt=0)
    """What `--resume` goes on from."""
    checkpoint_minutes: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """A checkpoint is written after so many minutes without one, too, whatever steps take; 0 for by steps alone. What is learned is the same."""
    keep: int = Field(default=2, gt=0)
    """Checkpoints that stay."""
    previews: int = Field(default=16, gt=0)
    """Rows that previews are made for."""
    validation_samples: int = Field(default=256, gt=0)
    """Held-out rows of a validation."""
    tensorboard: bool = True
    """Write for TensorBoard where it is installed."""
    max_dropped_rate: float = Field(default=0.02, ge=0, le=1)
    """Share of steps with a non-finite loss above which the run ends."""
    evaluate_every: int = Field(default=0, ge=0)
    """Outputs for a few held-out rows, the same at every call, are made and measured every so many steps; 0 for never."""
    evaluate_rows: int = Field(default=32, ge=2)
    """Rows of `evaluate_every`."""
    best_by: str = "loss"
    """What the best average is chosen by: `loss`, held out; a figure that `evaluate_every` measures, such as `recall_at_5` or `onset_f1`; or `latest`, the
    newest one, where a loss says nothing, as in an adversarial game."""
