import json
from pathlib import Path

import numpy as np
import pytest
import torch
from other_device import other_device
from rich.console import Console
from safetensors.torch import load_file

from tonggan.arithmetic import choose_device
from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.evaluation.watching import Watch
from tonggan.feedback.reward import learn_reward
from tonggan.modalities import modalities
from tonggan.modalities.video import open_clip
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import Recipe, load_recipe
from tonggan.training.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # it is called so, and holds numbers nevertheless
QUIET = Console(quiet=True)
ALWAYS = ["dtype=float32", "monitor.tensorboard=false", "data.hold_out=0.2", "initial=null", "frozen=[]", "schedule.samples=32"]
WATCHED = ["monitor.evaluate_every=4", "monitor.evaluate_rows=2"]
PICTURES = ["data.phrasings=null", "model.encoders.text={kind: text_transformer, width: 64, layers: 1, heads: 2, vocabulary: 300}"]
FEATURES = "objectives.adversarial={loss: hinge, mismatched: 0.0, features: {blocks: [0], width: 16}}"
WORDS = [*PICTURES, "data.target_phrasings=null", "model.decoders.text.vocabulary=300", "model.decoders.text.languages=[en, zh]"]


def trained(recipe: Recipe, out: Path, device: str) -> Run:
    recipe = recipe.model_copy(update={"device": device})
    run = Run(recipe, out, resume=False, console=QUIET, cache=out.parent / "packs", judging=Watch if recipe.monitor.evaluate_every else None)
    run.train()
    return run


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("emoji-64-words", ["objectives.arrows={text->image: 1.0, image->text: 1.0}", *WATCHED, *WORDS]),
        ("emoji-64-gan", PICTURES),
        ("emoji-64-preferred", ["objectives.prefer.preferences=PREFERENCES", *PICTURES]),
        ("emoji-64-fast", PICTURES),
        ("emoji-64-guided", ["objectives.distil.teacher=DRAWER", FEATURES, *PICTURES]),
        ("foley", [*WATCHED]),
    ],
)
def test_training_on_another_device_is_the_same(
    name: str, overrides: list[str], shapes: Path, clips: Path, preferences: Path, drawer: Path, tmp_path: Path
) -> None:
    data = clips if name == "foley" else shapes
    given = [each.replace("PREFERENCES", str(preferences)).replace("DRAWER", str(drawer)) for each in overrides]
    recipe = load_recipe(name, smoke=True, overrides=[f"data.path={data}", *ALWAYS, *given])
    trained(recipe, tmp_path / "here", "cpu")
    with other_device() as elsewhere:
        run = trained(recipe, tmp_path / "there", elsewhere)
        assert run.learner.model.device.type == elsewhere
        longer = recipe.model_copy(update={"device": elsewhere})
        again = Run(longer, tmp_path / "there", resume=True, console=QUIET, cache=tmp_path / "packs").learner
        again.advance(run.data.loader)
        assert again.step == run.learner.step + 1
    here, there = (load_file(str(tmp_path / out / "model" / "model.safetensors")) for out in ("here", "there"))
    assert {name: each.shape for name, each in here.items()} == {name: each.shape for name, each in there.items()}
    first, other = (json.loads((tmp_path / out / "journal.jsonl").read_text().splitlines()[0]) for out in ("here", "there"))
    # The first step alone: attention adds up in another order there, and where a gradient is nearly nothing Adam goes by its sign.
    figures = [name for name, value in first.items() if isinstance(value, float) and name not in ("samples_per_second", "wait_share")]
    assert {name: other[name] for name in figures} == pytest.approx({name: first[name] for name in figures}, rel=1e-3)
    resumed = Run(recipe.model_copy(update={"device": "cpu"}), tmp_path / "there", resume=True, console=QUIET, cache=tmp_path / "packs")
    assert resumed.learner.finished  # what began on one device goes on on another


def test_a_device_that_is_not_there_is_said() -> None:
    assert choose_device("cpu") == "cpu"
    for name in ("cuda:99", "toaster"):
        with pytest.raises(UserError, match=f"device={name}: PyTorch .* finds no such device here"):
            choose_device(name)


def test_closeness_to_the_truth_is_told_across_devices() -> None:
    truth = torch.zeros(2, 3, 8, 8)
    with other_device() as elsewhere:
        for modality in ("image", "audio"):
            closeness = modalities()[modality].closeness
            assert closeness is not None
            target = truth if modality == "image" else torch.randn(2, 8000)
            assert closeness(target.to(elsewhere), target)[0] > 50


def test_votes_are_learned_from_on_another_device(drawer: Path, preferences: Path, tmp_path: Path) -> None:
    with other_device() as elsewhere:
        learned = learn_reward(Tonggan.from_pretrained(drawer, device=elsewhere), preferences, tmp_path / "reward.safetensors")
    assert learned.agreed > 0.5


@pytest.mark.usefixtures("brief_judges")
def test_outputs_are_made_on_another_device(drawer: Path, describer: Tonggan, sounder: Tonggan, clips: Path, tmp_path: Path) -> None:
    here = Tonggan.from_pretrained(drawer).generate("red square", to="image", seed=3, negative="blue circle")[0]
    with other_device() as elsewhere:
        model = Tonggan.from_pretrained(drawer, device=elsewhere)
        assert model.model.device.type == elsewhere
        there = model.generate("red square", to="image", seed=3, negative="blue circle")[0]
        assert max(abs(a - b) for a, b in zip(here.tobytes(), there.tobytes(), strict=True)) <= 1
        started = model.generate("red square", to="image", seed=3, start=here, references=[here], settings={"strength": 0.5})
        assert started[0].size == here.size
    describer.save_pretrained(tmp_path / "describer")
    said = describer.generate(here, to="text")
    with other_device() as elsewhere:
        assert Tonggan.from_pretrained(tmp_path / "describer", device=elsewhere).generate(here, to="text") == said
    sounder.save_pretrained(tmp_path / "sounder")
    clip = open_clip(next(clips.rglob("*.mp4")), sounder.framing)
    heard = sounder.generate(clip, to="audio", seed=3)[0]
    with other_device() as elsewhere:
        made = Tonggan.from_pretrained(tmp_path / "sounder", device=elsewhere).generate(clip, to="audio", seed=3)[0]
        pack = ensure_pack(clips, framing=sounder.framing, cache=tmp_path)
        model = Tonggan.from_pretrained(tmp_path / "sounder", device=elsewhere)
        card = evaluate_sounds(model, Asked(pack, "train", tmp_path / "evaluated", limit=2))
    assert np.abs(made.samples - heard.samples).max() < 1e-3
    assert np.isfinite(card.figure("mel_distance").value)
