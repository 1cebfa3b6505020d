"""Recipes: one YAML file a run, read strictly, changed by `a.b=c` on the command line."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from tonggan.errors import UserError, nearest
from tonggan.goals import ObjectivesConfig
from tonggan.model import ModelConfig
from tonggan.plugins import beside, import_plugins
from tonggan.strict import LARGEST_SEED, Strict, explain
from tonggan.training.reading import read_yaml
from tonggan.training.sections import DataConfig, Decay, MonitorConfig, OptimizerConfig, ScheduleConfig

OF_DATA = ("size", "frames_per_second", "clip_seconds", "sample_rate_hz")
"""Settings of the data that parts have, too, and must have the same."""
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
