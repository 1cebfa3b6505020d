import json
import math
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from tonggan.errors import UserError
from tonggan.modalities.image import square
from tonggan.objectives.terms import LossTerms
from tonggan.pipeline import Tonggan
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.recipe import Recipe, parse_recipe, set_dotted
from tonggan.training.run import Run

QUIET = Console(quiet=True)


def test_a_run_leaves_a_model_that_draws(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET).train()
    model = Tonggan.from_pretrained(tmp_path / "run")
    pictures = model.generate(["red square", "blue circle"], to="image", seed=3)
    assert [picture.size for picture in pictures] == [(64, 64), (64, 64)]
    alone = model.generate("blue circle", to="image", seed=4)[0]
    difference = max(abs(a - b) for a, b in zip(alone.tobytes(), pictures[1].tobytes(), strict=True))
    assert difference <= 1
    with pytest.raises(UserError, match="holds a run already"):
        Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    recorded = tmp_path / "run" / "run.json"
    recorded.write_text(recorded.read_text().replace(model.config["trained"]["data"], "0" * 64))
    with pytest.raises(UserError, match="other data"):
        Run(small_recipe, tmp_path / "run", resume=True, console=QUIET)


def test_a_condition_changes_the_picture_and_padding_does_not(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    run.train()
    model = run.model.eval()
    settings = {"num_inference_steps": 2}
    red, blue = (model.generate([text], source="text", target="image", seeds=[0], settings=settings) for text in ("red square", "blue circle"))
    assert (red - blue).abs().max() > 0
    padded = model.generate(["red square", "red square " * 12], source="text", target="image", seeds=[0, 1], settings=settings)
    torch.testing.assert_close(padded[:1], red, rtol=0, atol=2e-3)


def test_a_non_finite_loss_changes_nothing(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    real = run.learner.players[0].loss
    object.__setattr__(run.learner.players[0], "loss", lambda batch, randomness: type(real(batch, randomness))({"bad": torch.tensor(float("nan"))}))
    report = run.learner.advance(run.data.loader)
    assert report.dropped
    with pytest.raises(UserError, match=r"not finite\. Try a lower .*nothing was learned that another could begin from"):
        run.train()
    kept = checkpoint_folders(run.checkpoints)[-1]
    assert load_file(kept / "state.safetensors")["model.space.null_point"].equal(before["space.null_point"])
    assert json.loads((kept / "state.json").read_text())["dropped"] > 5
    journal = (tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(journal[0], parse_constant=pytest.fail)["gradient_norm"] == "nan"
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_a_run_that_breaks_leaves_its_last_good_average_to_begin_from(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    run.learner.advance(run.data.loader)
    good = {name: tensor.clone() for name, tensor in run.learner.average.state().items()}
    object.__setattr__(run.learner.players[0], "loss", lambda batch, randomness: LossTerms({"bad": torch.tensor(float("nan"))}))
    with pytest.raises(UserError, match=rf"last good average is in .*: another run begins from it with initial={tmp_path / 'run'}"):
        run.train()
    again = Run(small_recipe.model_copy(update={"initial": str(tmp_path / "run")}), tmp_path / "again", resume=False, console=QUIET)
    begun = again.model.state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in good.items() if name.startswith("encoders"))


@pytest.mark.usefixtures("one_thread")
def test_threads_change_a_picture_by_rounding_at_most(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET).train()
    model = Tonggan.from_pretrained(tmp_path / "run")
    one = model.generate("red square", to="image", seed=5)[0]
    torch.set_num_threads(2)
    two = model.generate("red square", to="image", seed=5)[0]
    assert max(abs(a - b) for a, b in zip(one.tobytes(), two.tobytes(), strict=True)) <= 1


def test_strength_is_how_far_a_picture_is_left_behind() -> None:
    # With the weights that ship: a network that was hardly trained leads from everywhere to the same grey.
    model = Tonggan.from_pretrained("emoji-64")
    start = model.generate("horse, noto style", to="image", seed=3)[0]
    framed = np.asarray(square(start, 64, fit=model.framing.fit), dtype=float)

    def drawn(**settings: float) -> Image.Image:
        return model.generate("full moon face, twemoji style", to="image", seed=1, start=start, settings=settings)[0]

    assert drawn(strength=0).tobytes() == start.tobytes()
    assert drawn(strength=1).tobytes() == model.generate("full moon face, twemoji style", to="image", seed=1)[0].tobytes()
    distances = [np.abs(np.asarray(drawn(strength=strength), dtype=float) - framed).mean() for strength in (0.1, 0.4, 0.9)]
    assert distances == sorted(distances)


def test_a_decoder_looks_at_what_is_recalled_or_shown(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET).train()
    model = Tonggan.from_pretrained(tmp_path / "run")
    assert model.recalled("a blue circle")[0] == "blue-circle.png"
    assert model.recalled("zeppelin") == []
    picture = Image.effect_mandelbrot((80, 64), (-2, -1, 1, 1), 50).convert("RGB")
    recalled, alone, shown = (
        model.generate("blue circle", to="image", seed=1, **given)[0].tobytes()  # type: ignore[arg-type]
        for given in ({}, {"settings": {"references": 0}}, {"references": [picture]})
    )
    assert len({recalled, alone, shown}) == 3
    assert alone != model.generate("zeppelin", to="image", seed=1)[0].tobytes()
    with pytest.raises(UserError, match="looks at 4"):
        model.generate("blue circle", to="image", references=[picture] * 5)


def test_distilling_trains_the_decoder_alone(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "teacher", resume=False, console=QUIET).train()
    settings = small_recipe.model_dump(mode="json") | {"initial": str(tmp_path / "teacher")}
    settings["objectives"] |= {"align": 0.0, "distil": {"teacher": str(tmp_path / "teacher"), "guidance_scale": 1.5, "steps": 4}}
    settings["model"]["decoders"]["image"] |= {"num_inference_steps": 2, "guidance_scale": 1.0, "solver": "euler"}
    Run(parse_recipe(settings, where="test"), tmp_path / "student", resume=False, console=QUIET).train()
    teacher, student = (Tonggan.from_pretrained(tmp_path / name) for name in ("teacher", "student"))
    for name, tensor in teacher.model.state_dict().items():
        if not name.startswith("decoders."):
            assert torch.equal(student.model.state_dict()[name], tensor), name
    one, two = student.generate("red square", to="image", seed=1)[0], student.generate(["blue circle", "red square"], to="image", seeds=[5, 1])[1]
    assert max(abs(a - b) for a, b in zip(one.tobytes(), two.tobytes(), strict=True)) <= 1
    Run(small_recipe.model_copy(update={"seed": 1}), tmp_path / "other", resume=False, console=QUIET).train()
    shutil.rmtree(tmp_path / "teacher" / "model")
    shutil.copytree(tmp_path / "other" / "model", tmp_path / "teacher" / "model")
    with pytest.raises(UserError, match=r"teacher holds other weights than .* was started with"):
        Run(parse_recipe(settings, where="test"), tmp_path / "student", resume=True, console=QUIET)


def test_distilling_moves_nothing_that_layers_count(small_recipe: Recipe, tmp_path: Path) -> None:
    settings = small_recipe.model_dump(mode="json")
    stem = {"kind": "image_transformer", "stem": "vgg", "stem_channels": [8, 8, 8], "width": 16, "heads": 2, "layers": 1}
    set_dotted(settings, "model.encoders.image", stem)
    set_dotted(settings, "objectives.arrows", {"image->image": 1.0})
    set_dotted(settings, "model.decoders.image", settings["model"]["decoders"]["image"] | {"references": 0, "look_every": 0})
    Run(parse_recipe(settings, where="test"), tmp_path / "teacher", resume=False, console=QUIET).train()
    settings["initial"] = str(tmp_path / "teacher")
    settings["objectives"] |= {"align": 0.0, "distil": {"teacher": str(tmp_path / "teacher"), "guidance_scale": 1.5, "steps": 4}}
    settings["model"]["decoders"]["image"] |= {"num_inference_steps": 2, "guidance_scale": 1.0, "solver": "euler"}
    run = Run(parse_recipe(settings, where="test"), tmp_path / "student", resume=False, console=QUIET)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.train()
    assert {name.partition(".")[0] for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])} == {"decoders"}


def test_what_layers_count_is_frozen_and_averaged_with_them(small_recipe: Recipe, tmp_path: Path) -> None:
    changes = {
        "model.encoders.image": {"kind": "image_transformer", "stem": "vgg", "stem_channels": [8, 8, 8], "width": 16, "heads": 2, "layers": 1},
        "objectives.align": 0.1,
    }
    settings = small_recipe.model_dump()
    for key, value in changes.items():
        set_dotted(settings, key, value)
    counts = "encoders.image.stages.1.running_mean"
    for frozen in ((), ("encoders.image",)):
        settings["frozen"] = frozen
        run = Run(parse_recipe(settings, where="test"), tmp_path / f"frozen-{len(frozen)}", resume=False, console=QUIET)
        before = run.model.state_dict()[counts].clone()
        run.train()
        shipped = Tonggan.from_pretrained(run.out).model.state_dict()[counts]
        moved = run.model.state_dict()[counts]
        assert torch.equal(moved, before) == bool(frozen)
        assert torch.equal(shipped, moved) == bool(frozen)


def test_a_walk_begins_and_ends_at_its_captions(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET).train()
    model = Tonggan.from_pretrained(tmp_path / "run")
    frames = [np.asarray(frame, dtype=int) for frame in model.morph("red square", "blue circle", frames=3, seed=2)]
    first, last = (np.asarray(model.generate(text, to="image", seed=2)[0], dtype=int) for text in ("red square", "blue circle"))
    assert np.abs(frames[0] - first).max() <= 2
    assert np.abs(frames[-1] - last).max() <= 2
    with pytest.raises(UserError, match="at least 2"):
        model.morph("a", "b", frames=1)


def test_a_folder_in_which_another_process_trains_is_left_alone(small_recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(UserError, match="another process trains in"):
        Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET).train()
    with FileLock(tmp_path / "run" / ".lock", blocking=False):
        pass  # a run that has ended lets others in


class Judge:
    """Finds the same whatever is made."""

    def __init__(self, found: float) -> None:
        self.higher, self.found = {"kernel_distance": False}, found

    def __call__(self, model: object) -> dict[str, float]:
        return {"kernel_distance": self.found}


@pytest.mark.parametrize(
    ("found", "said"),
    [(-0.002, "best kernel_distance -0.0020, model in"), (float("nan"), "no average was kept: the last kernel_distance was not a finite number")],
)
def test_the_last_line_says_what_was_kept(small_recipe: Recipe, tmp_path: Path, found: float, said: str) -> None:
    monitor = small_recipe.monitor.model_copy(update={"best_by": "kernel_distance", "evaluate_every": 4})
    recipe, told = small_recipe.model_copy(update={"monitor": monitor}), StringIO()
    run = Run(recipe, tmp_path / "run", resume=False, console=Console(file=told, width=400), judging=lambda recipe, data: Judge(found))
    run.train()
    assert said in told.getvalue()
    assert (tmp_path / "run" / "model").is_dir() == math.isfinite(found)
    if math.isfinite(found):
        assert Tonggan.from_pretrained(tmp_path / "run").config["trained"]["best"] == {"kernel_distance": found}
        assert json.loads((checkpoint_folders(run.checkpoints)[-1] / "state.json").read_text())["best"] == found
    run._sound = False
    run._keep_best(0.5)
    run.learner.best = float("inf")
    assert run._kept() == "no average was kept: the last look at what is made saw a trouble"
