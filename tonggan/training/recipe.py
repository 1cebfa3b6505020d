"""Recipes: one YAML file a run, read strictly, changed by `a.b=c` on the command line."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tonggan.data.augment import Augmentation
from tonggan.data.loader import FIELD, Balance, Language, Phrasings
from tonggan.errors import UserError, nearest
from tonggan.goals import ObjectivesConfig
from tonggan.modalities import Framing
from tonggan.model import ModelConfig
from tonggan.plugins import beside, import_plugins
from tonggan.strict import LARGEST_SEED, NotNegative, Strict, explain
from tonggan.training.reading import read_yaml


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


OF_DATA = ("size", "frames_per_second", "clip_seconds", "sample_rate_hz")
"""Settings of the data that parts have, too, and must have the same."""


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


BESIDE_SEED: Any = {"seed": True, "name": True, "device": True, "monitor": {"tensorboard"}, "smoke": True, "data": {"path", "source"}}
"""What of a recipe runs may have otherwise that are called the same but for their seed: names, places, and how they are shown."""


class Recipe(Strict):
    """All that a run depends on; the resolved recipe is stored beside the weights and alone rebuilds the model."""

    name: str
    """What the model is called."""
    plugins: tuple[str, ...] = ()
    """Your own parts: modules that Python finds, and .py files beside the recipe file, imported before the rest is read."""
    initial: str | None = None
    """A model (by name or folder) whose encoders, decoders and space training starts from, as far as this one has the same."""
    refit: tuple[str, ...] = ()
    """Parts of `initial`, such as `decoders.audio`, that learn from this data anew what gradients do not teach: where it is louder or of other words."""
    frozen: tuple[str, ...] = ()
    """What does not move: names of parts or of what is in them, such as `encoders.text`, `space.tokens.text` or `decoders`."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Of everything random: weights, order, noise."""
    device: str = "auto"
    """Where it is trained: `cpu`, `cuda`, `cuda:1`; `auto` is a GPU where PyTorch sees one. A run may go on elsewhere, if not to the same bits."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of training; `auto` measures this machine. Weights, EMA and optimizer state are always float32."""
    ema_decay: Decay = 0.9995
    """Decay a step of the moving average, which is what is kept: about 1 / (1 - decay) steps long."""
    data: DataConfig
    model: ModelConfig
    objectives: ObjectivesConfig = ObjectivesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig
    monitor: MonitorConfig = MonitorConfig()
    smoke: dict[str, Any] = Field(default_factory=dict)
    """Overrides that make a run of seconds of it (`--smoke`); every recipe is tested in this form."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Raise `UserError` where a part is set to other sizes or rates than the data and the space have: it would run, and be wrong."""
        for name in OF_DATA:
            if others := {key: value for key, value in self._set_as(name).items() if value != getattr(self.data, name)}:
                key, value = next(iter(others.items()))
                raise UserError(
                    f"{key} is {value:g} and data.{name} {getattr(self.data, name):g}: they have to be the same. "
                    f"Set all of {', '.join(self.same_as_data(name))} to what the data has."
                )
        for where, part in self._parts():
            if hasattr(part, "latent_width") and part.latent_width != self.model.space.width:
                raise UserError(
                    f"{where}.latent_width is {part.latent_width} and model.space.width {self.model.space.width}: they have to be the same."
                )
        return self

    def hash_without_seed(self) -> str:
        """Return the SHA-256 of all that decides about a training but its seed and its data: runs that share it differ in seed alone, given the same rows."""
        kept = self.model_dump(mode="json", exclude=BESIDE_SEED)
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def same_as_data(self, name: str) -> list[str]:
        """Return the settings that have to be what `data.NAME` is, that one first."""
        return [f"data.{name}", *self._set_as(name)]

    def _parts(self) -> list[tuple[str, Any]]:
        return [(f"model.{room}.{name}", part) for room in ("encoders", "decoders") for name, part in getattr(self.model, room).items()]

    def _set_as(self, name: str) -> dict[str, Any]:
        """Return the settings of parts, and of their spectrograms, that are called as one of the data: key -> value."""
        owners = [(where, part) for where, part in self._parts() if name != "sample_rate_hz"]
        owners += [(f"{where}.mel", part.mel) for where, part in self._parts() if name == "sample_rate_hz" and hasattr(part, "mel")]
        return {f"{where}.{name}": getattr(owner, name) for where, owner in owners if name in type(owner).model_fields}


MUON_RATE = "optimizer.muon_learning_rate"


def recipe_files() -> dict[str, Path]:
    """Return the recipes that ship with the package, by name."""
    folder = Path(str(resources.files("tonggan") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipe_head(path: Path) -> str:
    """Return the comment block on top of a recipe: command, hardware, wall time, expected scores."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("#").removeprefix(" ") for line in lines[: next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)]]
    return "\n".join(head)


def find_recipe(name: str, *, beside: Path = Path()) -> Path:
    """Return the file of a recipe given by name or path, sought in the folder `beside` first; raises `UserError` with the nearest name."""
    shipped = recipe_files()
    if name in shipped:
        return shipped[name]
    for path in (beside / name, Path(name)):
        if path.is_file():
            return path
    raise UserError(f"recipe '{name}' is neither a file nor a recipe that ships.{nearest(name, shipped)}")


def load_recipe(name: str, *, overrides: Sequence[str] = (), smoke: bool = False) -> Recipe:
    """Read a recipe by name or path, apply its smoke form and `a.b=c` overrides in that order; `base` names a recipe that it changes.

    Its plugins are imported: they are code. Raises `UserError` for a missing file, broken YAML, an unknown key (with the nearest one), a value of the wrong
    type, and as `import_plugins` does.
    """
    path = find_recipe(name)
    settings = _settings(path)
    if smoke:
        form = settings.get("smoke") or {}
        if not isinstance(form, dict):
            raise UserError(f"{path}: smoke is a section, with settings such as schedule.samples: 64, not {form!r}.")
        for key, value in form.items():
            set_dotted(settings, key, value)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UserError(f"'{override}' is not an override. Write it as a.b=c, for example schedule.batch_size=64.")
        try:
            set_dotted(settings, key, read_yaml(text, where=f"'{override}'"))
        except yaml.YAMLError as error:
            raise UserError(f"'{override}': the value is not YAML that can be read: {' '.join(str(error).split())}") from error
    given = {override.partition("=")[0] for override in overrides}
    _forget_source(settings, given)
    _forget_other_length(settings, given)
    import_plugins(settings.get("plugins", []))
    recipe = parse_recipe(settings, where=str(path), overrides=overrides)
    if MUON_RATE in given and recipe.optimizer.kind != "muon":
        asked = next(override for override in overrides if override.startswith(f"{MUON_RATE}="))
        raise UserError(f"{asked}: optimizer.kind is {recipe.optimizer.kind}, which has no such rate. Set optimizer.learning_rate, or kind to muon.")
    return recipe


def resolved_yaml(name: str) -> str:
    """Return a recipe, given by name or path, as YAML that stands alone: with what its bases say and every default; raises as `load_recipe` does."""
    return yaml.safe_dump(load_recipe(name).model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _settings(path: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a file says, upon what its `base` says, and that one's; `above` are the files that led here."""
    if path in above:
        raise UserError(f"{path}: base leads back to the recipe itself. Name another.")
    try:
        settings = read_yaml(path.read_text(encoding="utf-8"), where=str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML that can be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} is empty or not a list of settings. Start from one of: {', '.join(recipe_files())}.")
    if "plugins" in settings:
        settings["plugins"] = beside(settings["plugins"], path.parent)
    if "base" not in settings:
        return settings
    merged = _merged(_settings(find_recipe(str(settings.pop("base")), beside=path.parent), above=(*above, path)), settings)
    data = settings.get("data")
    _forget_source(merged, {f"data.{name}" for name in data} if isinstance(data, dict) else ())
    schedule = settings.get("schedule")
    _forget_other_length(merged, {f"schedule.{name}" for name in schedule} if isinstance(schedule, dict) else ())
    return merged


def _forget_source(settings: dict[str, Any], changed: Collection[str]) -> None:
    """Leave origin and licence out where the data was changed and they were not: those of other data would stand on the model's card."""
    if "data.path" in changed and "data.source" not in changed:
        settings["data"].pop("source", None)


def _forget_other_length(settings: dict[str, Any], changed: Collection[str]) -> None:
    """Leave out the epochs of a schedule where samples alone were changed, and the other way round: the one that was asked for last is meant."""
    schedule = settings.get("schedule")
    lengths = [name for name in ("samples", "epochs") if isinstance(schedule, dict) and f"schedule.{name}" in changed and schedule[name] is not None]
    if isinstance(schedule, dict) and len(lengths) == 1:
        schedule.pop("epochs" if lengths == ["samples"] else "samples", None)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with what `changes` says otherwise, section by section; a part of another `kind` takes the place of the one that was there."""

    def goes_on(name: str, value: Any) -> bool:
        both = isinstance(value, dict) and isinstance(base.get(name), dict)
        return both and value.get("kind", base[name].get("kind")) == base[name].get("kind")

    return base | dict(changes) | {name: _merged(base[name], value) for name, value in changes.items() if goes_on(name, value)}


def set_dotted(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b.c` in nested dictionaries; missing levels are made (an unknown one is found by the strict reader)."""
    *levels, last = key.split(".")
    for level in levels:
        settings = settings.setdefault(level, {})
        if not isinstance(settings, dict):
            raise UserError(f"'{key}': '{level}' is a value, not a section.")
    settings[last] = value


def parse_recipe(settings: Mapping[str, Any], *, where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Turn settings into a `Recipe`; errors name `where` they come from, or the one of the `overrides` that brought the mistake in."""
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        brought = [override for override in overrides if _brings(override.partition("=")[0], error.errors()[0]["loc"])]
        raise UserError(f"{brought[-1] if brought else where}: {explain(error, Recipe)}") from error


def _brings(key: str, location: Sequence[Any]) -> bool:
    """Whether what an override sets at `key` (a.b.c) is, holds, or lies in what is wrong at `location`."""
    levels, wrong = key.split("."), [str(part) for part in location]
    return bool(wrong) and all(level == part for level, part in zip(levels, wrong, strict=False))
