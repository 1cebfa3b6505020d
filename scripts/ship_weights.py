"""Put a run's model among those that ship, its matrices in eight bits, with the figures of its evaluations: python scripts/ship_weights.py RUN [CARD.json ...]

RUN may be a model that ships. A memory that two of them have lies in one folder alone. Figures of arrows that no CARD is of stay as they are: give the cards of
all that changed. `--voice OTHER` takes the vocoder of another run, and its model card says what that had seen.
"""

import filecmp
import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from tonggan.decoders.audio_flow import AudioFlow
from tonggan.errors import UserError
from tonggan.evaluation.card import Card
from tonggan.files import replacing
from tonggan.latent.seen_words import FILE as WORDS
from tonggan.model_folder import MEMORY_OF
from tonggan.pipeline import Tonggan

SHOWN = (
    "recall_at_1",
    "recall_at_5",
    "kernel_distance",
    "frechet_distance",
    "copy_rate",
    "exact_label",
    "cider_d",
    "text_to_image_at_5",
    "onset_f1",
    "onset_count_error",
    "mel_distance",
    "synchrony_accuracy",
    "material_accuracy",
    "tag_accuracy @ label",
    "tag_accuracy @ speaker",
    "kernel_distance @ embedding of sounds",
    "exact",
)
LARGEST = 40 * 2**20
LICENSES = {"spoken-digits": "cc-by-sa-4.0"}
"""Of models whose data asks for it of what is made from it; the others have `LICENSE`."""
LICENSE = "apache-2.0"


def share_memory(folder: Path) -> None:
    """Leave a memory that another shipped model has to the byte there alone, with the words that it knows, and say so in config.json; captions are completed
    as they are there."""
    for own in folder.glob("memory-*.safetensors"):
        for other in sorted(folder.parent.glob(f"*/{own.name}")):
            if other.parent != folder and filecmp.cmp(own, other, shallow=False):
                file = folder / "config.json"
                like_there = {name: value for name, value in shipped_config(other.parent).items() if name == "completion"}
                config = like_there | json.loads(file.read_text(encoding="utf-8")) | {MEMORY_OF: f"../{other.parent.name}"}
                with replacing(file) as beside:
                    beside.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                own.unlink()
                words, theirs = folder / WORDS, other.parent / WORDS
                if words.is_file() and theirs.is_file() and filecmp.cmp(words, theirs, shallow=False):
                    words.unlink()
                break


def shipped_config(folder: Path) -> dict[str, Any]:
    """Return what is said of the model that ships already under this name, nothing where none does."""
    file = folder / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def take_voice(model: Tonggan, other: Tonggan) -> None:
    """Let a model's sounds be played by another's vocoder, which learned with the other or, where that says so, by itself."""
    ours, theirs = (cast(AudioFlow, each.model.decoders["audio"]).vocoder for each in (model, other))
    if ours is None or theirs is None or ours.config != theirs.config:
        raise UserError(f"{other.name} has no vocoder of the form of {model.name}'s.")
    ours.load_state_dict(theirs.state_dict())
    trained = dict(other.config["trained"])
    model.config = dict(model.config) | {"trained": dict(model.config["trained"]) | {"voice": trained.get("voice", trained)}}


def main(run: str, cards: Annotated[list[Path] | None, typer.Argument()] = None, voice: Annotated[str | None, typer.Option()] = None) -> None:
    """Write tonggan/weights/NAME."""
    model = Tonggan.from_pretrained(run)
    if voice is not None:
        take_voice(model, Tonggan.from_pretrained(voice))
    name = model.recipe.name  # the run's folder may have another
    evaluations = []
    for card in map(Card.load, cards or []):
        figures = {figure.key: figure.value for figure in card.figures if figure.key in SHOWN}
        evaluations.append(
            {"arrow": card.arrow, "split": card.data.split, "language": card.data.language, "samples": card.data.samples, "figures": figures}
        )
    folder = Path(__file__).parents[1] / "tonggan" / "weights" / name
    shipped = shipped_config(folder)
    evaluations += [each for each in shipped.get("figures", []) if each["arrow"] not in {new["arrow"] for new in evaluations}]
    # How captions are completed is no matter of a run.
    completion = {name: value for name, value in shipped.items() if name == "completion"}
    model.config = dict(model.config) | {"name": name, "license": LICENSES.get(name, LICENSE), "figures": evaluations} | completion
    model.save_pretrained(folder, dtype="int8")
    share_memory(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path.name}")
        if path.stat().st_size > LARGEST:
            raise SystemExit(f"{path} is too large to ship")
    print(json.dumps(evaluations, indent=1))


if __name__ == "__main__":
    typer.run(main)
