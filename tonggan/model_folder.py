"""A model on disk: config.json, model.safetensors, what the parts keep beside, and a card. Nothing is unpickled; code in it is run by leave alone."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tonggan.data.seen_rows import Rows, load_rows, save_rows
from tonggan.errors import UserError, nearest
from tonggan.files import replacing
from tonggan.latent.seen_words import load_words, save_words
from tonggan.model import CrossModalModel, ModelConfig
from tonggan.parts import Part
from tonggan.plugins import import_kept, save_code

FORMAT = 1
Storage = Literal["float32", "float16", "int8"]
SCALE = ".int8_scale"
MEMORY_OF = "memory_of"
"""Names, in config.json, the model folder (relative to this one) that holds the same memory, so that it lies there alone."""
LEAST_QUANTISED = 4096
"""Numbers that a tensor has at least where it is stored as int8; smaller ones weigh nothing."""


@dataclass(frozen=True)
class Loaded:
    """A model read from disk, with what its folder says of it."""

    model: CrossModalModel
    config: Mapping[str, Any]
    weights_hash: str
    words: Collection[str] | None = None
    """The words that its captions had; None where neither its folder nor that of its memory has a list of them."""
    rows: Rows | None = None
    """The rows that it learned from, whatever it began from included; None where its folder has no list of them."""
    code: Mapping[str, bytes] = field(default_factory=dict)
    """The files of its plugins, by name."""


def shipped_models() -> dict[str, Path]:
    """Return the models that ship with the package, by name."""
    folder = Path(str(resources.files("tonggan") / "weights"))
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def find_model(name: str) -> Path:
    """Return the folder of a model: the name of a shipped one, a model folder, or a run. Raises `UserError` with the nearest name."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    folder = Path(name)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    if (folder / "run.json").is_file():
        raise UserError(
            f"{folder} is a run that has no model yet: the first is kept after monitor.validate_every steps. Go on with --resume, to there or to its end."
        )
    if folder.is_dir():
        raise UserError(f"{folder} is neither a model nor a run: config.json is missing.")
    raise UserError(f"model '{name}' is neither a folder nor a model that ships.{nearest(name, shipped)}")


def packed(tensors: Mapping[str, Tensor], dtype: Storage) -> dict[str, Tensor]:
    """Return tensors as they are stored: float32, float16, or matrices as int8 with a scale a row (name + `SCALE`) and the rest as float16."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        values = tensor.detach()
        if dtype == "int8" and values.ndim >= 2 and values.numel() >= LEAST_QUANTISED:
            rows = values.float().flatten(1)
            scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            stored[name] = (rows / scale).round().to(torch.int8).reshape(values.shape)
            stored[name + SCALE] = scale.squeeze(1)
        else:
            stored[name] = values.half() if dtype != "float32" and values.is_floating_point() else values
    return {name: tensor.contiguous() for name, tensor in stored.items()}


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `packed` stored, quantised ones as float32."""
    tensors = {name: tensor for name, tensor in stored.items() if not name.endswith(SCALE)}
    for name, scale in stored.items():
        of = name.removesuffix(SCALE)
        if name.endswith(SCALE) and of in tensors:  # a tensor that is missing is found where the architecture is compared
            tensors[of] = tensors[of].float() * scale.reshape(-1, *[1] * (tensors[of].ndim - 1))
    return tensors


def save_model(
    folder: Path,
    model: CrossModalModel,
    *,
    config: Mapping[str, Any],
    card: str,
    tensors: Mapping[str, Tensor] | None = None,
    dtype: Storage = "float32",
    words: Collection[str] | None = None,
    rows: Rows | None = None,
    code: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model folder, each file beside and then renamed. `tensors` (by parameter name) replace the live weights; `dtype` is how they are stored;
    `words` are those that its captions had, `rows` those that it learned from, where they are known; `code` are the files of its plugins, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = packed(dict(model.state_dict()) | dict(tensors or {}), dtype)
    model.save_assets(folder)
    save_words(folder, words)
    save_rows(folder, rows)
    save_code(folder, code or {})
    # All are written before any is renamed, weights first and config.json last: where a model is written over, old and new lie side by side for a moment
    # alone, and the hash of the weights in config.json tells that all of the model is there, unharmed.
    with replacing(folder / "config.json") as facts, replacing(folder / "README.md") as readme, replacing(folder / "model.safetensors") as weights:
        save_file(stored, str(weights), metadata={"format": "pt"})
        readme.write_text(card, encoding="utf-8")
        whole = dict(config) | {"format": FORMAT, "model": model.config.model_dump(mode="json"), "weights_hash": _hash(weights)}
        facts.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_model(name: str, *, device: str = "cpu", trust_code: bool = False) -> Loaded:
    """Read a model by name, folder or run, in evaluation mode, onto a device; plugins that it names are run with `trust_code` alone.

    Raises `UserError` where it is missing, broken, of a newer format, where weights and architecture differ, and as `import_kept` does.
    """
    folder = find_model(name)
    config = _read_config(folder)
    code = import_kept(config.get("recipe", {}).get("plugins", []), folder, trust_code=trust_code)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{path} is missing: the folder holds no whole model. Copy it again.")
    try:
        tensors = unpacked(load_file(str(path)))
    except (SafetensorError, OSError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}). Copy the model again.") from error
    try:
        architecture = ModelConfig.model_validate(config["model"]).kept_in(folder)
    except (ValidationError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'} describes no model that this version knows ({' '.join(str(error).split())}).") from error
    model = CrossModalModel(architecture)
    _load_weights(model, tensors, path)
    broken = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
    if broken or config.get("weights_hash") not in (None, _hash(path)):  # None: written before there was one
        found = f"{broken} is not finite" if broken else "it is not what was saved with config.json"
        raise UserError(f"{path} is damaged ({found}). Copy the model again.")
    beside = folder / config[MEMORY_OF] if MEMORY_OF in config else folder
    model.load_assets(folder, memories=beside)
    remembered = (beside / memory.file for _, memory in sorted(model.memories.items()))
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in (path, *remembered))).hexdigest()
    loaded = model.to(torch.device(device)).to(memory_format=torch.channels_last).eval()
    words = load_words(folder)
    return Loaded(loaded, config, digest, load_words(beside) if words is None else words, load_rows(folder), code)


def begin_from(model: CrossModalModel, name: str) -> tuple[Loaded, list[Part]]:
    """Take over what `model` has in common with a trained one, and return that one and the parts taken (their files, such as vocabularies, included).

    An encoder or decoder is taken where it has every tensor that the trained one has, of the same shape; layers that only the new one has start as they
    do in a new model. The shared space is taken tensor by tensor. Raises `UserError` where nothing fits.
    """
    loaded, folder = load_model(name), find_model(name)
    given, taken = loaded.model.state_dict(), list[Part]()
    for room in ("encoders", "decoders"):
        for modality, part in getattr(model, room).items():
            theirs = getattr(loaded.model, room)
            if modality in theirs and _shapes(theirs[modality]).items() <= _shapes(part).items():
                part.load_state_dict(theirs[modality].state_dict(), strict=False)
                part.load_assets(folder)
                taken.append(part)
    if not taken:
        raise UserError(
            f"initial: no encoder and no decoder of '{name}' is the same as this recipe's; nothing can be taken over. Leave it out, or mend model.*."
        )
    own = model.state_dict()
    for key, tensor in given.items():
        if key.partition(".")[0] not in ("encoders", "decoders") and key in own and own[key].shape == tensor.shape:
            own[key].copy_(tensor)
    return loaded, taken


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shapes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["format"] > FORMAT:
            raise UserError(f"{path} was written by a newer version (format {config['format']}, this one reads {FORMAT}). Update tonggan.")
        return config
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error}). Copy the model again.") from error


def _load_weights(model: CrossModalModel, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = model.state_dict()
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    differing = [name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape]
    wrong = sorted(missing | unknown | set(differing))
    if wrong:
        raise UserError(
            f"{path} holds weights of another architecture than config.json says: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(differing)} of another shape (first: {wrong[0]}). Take config.json and model.safetensors from the same model."
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})
