from pathlib import Path

import pytest
from rich.console import Console

from tonggan.feedback.votes import VoteStore
from tonggan.modalities import modalities
from tonggan.pipeline import Tonggan
from tonggan.serving.contest import Contest
from tonggan.serving.prompts import Prompt, read_prompts
from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run

SKETCHER = [
    "data.phrasings=null",
    "data.hold_out=0.2",
    "dtype=float32",
    "monitor.tensorboard=false",
    "schedule.samples=16",
    "model.encoders={text: {kind: text_transformer, width: 32, layers: 1, heads: 2, vocabulary: 300}}",
    "model.space.width=32",
    "model.decoders={image: {kind: image_deconv, size: 32, channels: 8, latent_width: 32}}",
    "data.size=32",
    "objectives={arrows: {text->image: 1.0}}",
    "optimizer={kind: adamw, learning_rate: 0.003}",
]


@pytest.fixture(scope="session")
def sketchers(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small models of different seeds that have seen a few drawings."""
    folder = tmp_path_factory.mktemp("sketchers")
    for name, seed in (("sketch-a", 1), ("sketch-b", 2)):
        recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", f"seed={seed}", f"name={name}", *SKETCHER])
        Run(recipe, folder / name, resume=False, console=Console(quiet=True), cache=folder).train()
    return folder / "sketch-a", folder / "sketch-b"


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    """A file of twelve prompts."""
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"{colour} {shape}\n" for colour in ("red", "green", "blue", "红色") for shape in ("square", "circle", "bar")))
    return file


@pytest.fixture
def prompts(prompts_file: Path) -> list[Prompt]:
    """The same, read."""
    return read_prompts(prompts_file, modalities()["text"])


@pytest.fixture
def contest(sketchers: tuple[Path, Path], prompts: list[Prompt], store: VoteStore, tmp_path: Path) -> Contest:
    """Both models on all prompts, nothing made yet."""
    models = {path.name: Tonggan.from_pretrained(path) for path in sketchers}
    return Contest(models, prompts, tmp_path / "arena", store, arrow="text->image")


@pytest.fixture
def sound_contest(sounder: Tonggan, clips: Path, store: VoteStore, tmp_path: Path) -> Contest:
    """One model with two settings, on four clips; nothing made yet."""
    sounder.save_pretrained(tmp_path / "other")
    other = Tonggan.from_pretrained(tmp_path / "other")
    other.overrides["num_inference_steps"] = 3
    prompts = read_prompts(clips / "metadata.jsonl", modalities()["video"])[:4]
    return Contest({"one": sounder, "other": other}, prompts, tmp_path / "arena", store, arrow="video->audio")
