import itertools
from pathlib import Path

import ablation
import pytest

from tonggan.training.recipe import load_recipe
from tonggan.training.run import Run


@pytest.mark.parametrize(("study", "variant"), [(name, variant) for name, study in ablation.STUDIES.items() for variant in study.variants])
def test_every_variant_is_a_recipe(study: str, variant: str) -> None:
    asked = ablation.STUDIES[study]
    for smaller in ((), asked.smaller):
        recipe = load_recipe(asked.recipe, overrides=[*ablation.ALWAYS, *asked.overrides, *asked.variants[variant], *smaller, "schedule.samples=64"])
        assert recipe.schedule.epochs is None


def test_minutes_are_equal_and_looks_are_not_counted(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second at each call: looks take twenty."""
    ticks = itertools.count()
    monkeypatch.setattr(ablation, "PACKS", tmp_path / "packs")
    looks: list[int] = []

    def look(run: Run) -> None:
        looks.append(run.learner.step)
        for _ in range(20):
            next(ticks)

    small = ["data.phrasings=null", "dtype=float32", "model.encoders.text={kind: text_transformer, width: 64, layers: 1, heads: 2, vocabulary: 300}"]
    small += ["model.encoders.image={kind: image_convolutional, channels: [8, 16, 24]}", "monitor.tensorboard=false", "schedule.batch_size=4"]
    small += ["model.decoders.image={kind: image_stylegan, size: 64, latent_width: 320, style_width: 32, channels: 8, max_channels: 32}"]
    small += ["objectives.adversarial.discriminator={channels: 8, max_channels: 32}", f"data.path={shapes}"]
    steps = []
    for number, marks in enumerate(((), (8.0, 16.0))):
        run, took = ablation._trained(
            "emoji-64-gan", small, seconds=24.0, out=tmp_path / str(number), now=lambda: float(next(ticks)), marks=marks, look=look
        )
        steps.append(run.learner.step)
        assert 24 <= took < 30
        assert (run.out / "model" / "model.safetensors").is_file()
    assert len(looks) == 2
    assert looks[0] < looks[1] < steps[1]
    assert steps[1] >= steps[0] // 2  # each call of the clock is a second, and there are two a step where a look is due; looks would have left none
