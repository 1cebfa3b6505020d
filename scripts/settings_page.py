"""Write docs/settings.md, every setting that a recipe may have, from the classes that read it: python scripts/settings_page.py [OUT]"""

import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from tonggan.decoders import DECODERS
from tonggan.encoders import ENCODERS
from tonggan.training.recipe import Recipe

COMMON = {
    "size": "Pixels a side; the same as `data.size`.",
    "width": "Numbers a token has within.",
    "latent_width": "The same as `model.space.width`.",
    "layers": "Blocks.",
    "heads": "Heads of attention; `width` is a multiple.",
    "vocabulary": "Most pieces of the BPE vocabulary, which is learned from the training captions.",
    "max_tokens": "Pieces of a sentence; what is longer is cut, and that is said.",
    "frames_a_token": "Spectrogram frames that are one token.",
    "trainable": "Whether the pretrained weights move.",
    "mel": "The spectrogram: `sample_rate_hz`, `window_length`, `hop_length` and `bands`.",
    "time_mean": "Times of training are logit-normal (arXiv:2403.03206): the mean of the logit. Lower is nearer to noise.",
    "time_spread": "The logit's deviation.",
    "num_inference_steps": "Steps from noise unless a call says otherwise.",
    "guidance_scale": "Classifier-free guidance unless a call says otherwise; 1 is none, and half the work.",
    "channels": "Channels of the finest layer, or of each.",
    "max_channels": "Most channels of a layer.",
    "noise_width": "Numbers of noise that a style is made from.",
    "style_width": "Numbers of a style.",
    "mapping_layers": "Layers from latent and noise to style.",
    "label_smoothing": "Share of the truth that is spread over all pieces.",
    "num_beams": "Beams unless a call says otherwise; 1 is greedy.",
    "length_penalty": "Exponent of the length that a beam's score is divided by.",
    "no_repeat_ngram_size": "n-grams of this many pieces are not said twice; 0 allows it.",
    "repetition_penalty": "Divides the logits of what was said already; 1 is none (arXiv:1909.05858).",
    "loss": "The game: R3GAN's (arXiv:2501.05441), StyleGAN's, or the hinge.",
    "augment": "What is done to pictures before they are judged.",
    "discriminator": "The judge.",
    "kind": "Which one.",
}
"""What settings mean that have no words of their own, and the same meaning wherever they stand."""
OUT = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings of a recipe

A recipe is one YAML file: `tonggan recipes` lists those that ship, `base: NAME` in a file of your own changes one of them, and `a.b=c` behind
`tonggan train NAME` changes a setting for one run (`tonggan train emoji-64 data.path=my-pictures schedule.samples=40000`). An unknown key is an error that
names the nearest known one. This page is made from the code (`make docs`).

- **Photographs** begin at the recipes `flickr8k-64` and `coco-64`, drawings at `emoji-64`.
- **Pictures of another size**: `data.size`, and the same size in every part that has one (`model.encoders.image.size`, `model.decoders.image.size`);
  128 wants about four times the time and memory of 64.
- **While it runs**: `runs/mine/journal.jsonl` has what was measured, `runs/mine/samples` what held-out captions give,
  `tensorboard --logdir runs/mine` the curves (the extra 'tensorboard'). `runs/mine/model` is the best so far: that folder alone is the model, to be used
  (`--model runs/mine/model`) or given away; `checkpoints` are for `--resume`.
"""


def main() -> None:
    """Write the page."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.write_text("\n".join([HEAD, *sections()]) + "\n", encoding="utf-8")


def sections() -> Iterator[str]:
    """Yield the lines of all sections."""
    yield from section("", Recipe)
    for room, kinds in (("encoders", ENCODERS), ("decoders", DECODERS)):
        yield f"## `model.{room}`: a part for each modality, of one `kind`\n"
        for kind, part in sorted(kinds.items()):
            yield from table(f"### `kind: {kind}`", part.Config, about=part, leave_out=("kind",))


def section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the table of a section, and then those within it."""
    yield from table(f"## `{path or 'recipe'}`", model)
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            where = f"{path}.{name}".lstrip(".")
            yield from section(f"{where}.LANGUAGE" if "phrasings" in name else where, inner)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a type names, parts of a model left out: they have pages of their own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation.__name__ == "PartConfig" else [annotation]
    return [each for inner in typing.get_args(annotation) for each in models_in(inner)]


def table(head: str, model: type[BaseModel], about: type | None = None, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield one section's head, what the class `about` it (its own unless given) says of itself, and its rows."""
    said = ((about or model).__doc__ or "").split("\n\n")[0]
    yield f"{head}\n\n{' '.join(said.split())}\n"
    yield "| setting | values | default | |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name not in leave_out:
            told = " ".join((field.description or _common(name, field.annotation)).split()).replace("|", "\\|")
            yield f"| `{name}` | {values(field.annotation)} | {default(field.get_default(call_default_factory=True))} | {told} |"
    yield ""


def _common(name: str, annotation: Any) -> str:
    """Return what a setting without words of its own means."""
    if name in COMMON:
        return COMMON[name]
    return "See below." if models_in(annotation) or name in ("encoders", "decoders") else ""


def values(annotation: Any) -> str:
    """Return what may stand there, in words."""
    if annotation is type(None):
        return "null"
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(values(each) for each in inner))
    if models_in(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "a section for each" if origin is dict else "a section"
    if origin in (dict, Mapping):
        return "names and values"
    if origin in (tuple, list):
        return "list"
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true, false"}.get(getattr(annotation, "__name__", ""), "section")


def default(value: Any) -> str:
    """Return a default as YAML would have it."""
    if value is PydanticUndefined:
        return "to be given"
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, (bool, type(None))):
        return f"`{str(value).lower()}`".replace("none", "null")
    return f"`{json.dumps(value, ensure_ascii=False)}`" if value != "" else "empty"


if __name__ == "__main__":
    main()
