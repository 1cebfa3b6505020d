from pathlib import Path

import numpy as np
import pytest
import torch

from tonggan.data.augment import LABELS, Augmentation
from tonggan.data.loader import Loader
from tonggan.data.pack import ensure_pack
from tonggan.errors import UserError
from tonggan.training.recipe import Recipe, set_dotted

pytest.importorskip("torchvision")


def label(**values: float) -> torch.Tensor:
    return torch.tensor([[values.get(name.replace(" ", "_"), 0.0) for name in LABELS]])


@pytest.fixture
def picture() -> torch.Tensor:
    made = torch.ones(1, 3, 32, 32)
    made[:, 0, 8:24, 4:12] = -1.0
    return made


def test_nothing_is_done_to_a_label_of_zero(picture: torch.Tensor) -> None:
    assert torch.equal(Augmentation()(picture, label()), picture)


def test_a_flip_and_a_shift_are_exact(picture: torch.Tensor) -> None:
    augmentation = Augmentation()
    assert torch.equal(augmentation(picture, label(flip=1)), picture.flip(-1))
    moved = augmentation(picture, label(shift_x=0.25, shift_y=-0.125))
    torch.testing.assert_close(moved[:, :, 4:20, 12:20], picture[:, :, 8:24, 4:12])
    assert (moved[:, :, 28:] == 1).all()


def test_a_mirror_shows_no_background() -> None:
    grey = torch.zeros(1, 3, 32, 32)
    assert (Augmentation(background="mirror")(grey, label(rotate=0.1, scale=-0.5)).abs() < 1e-5).all()
    assert (Augmentation(background="white")(grey, label(rotate=0.1, scale=-0.5)) == 1).any()


def test_scale_grows_and_colour_fades(picture: torch.Tensor) -> None:
    augmentation = Augmentation()
    assert (augmentation(picture, label(scale=0.5)) < 0).sum() > 1.5 * (picture < 0).sum()
    faded = augmentation(picture, label(saturation=-3))
    assert (faded[0, 0] - faded[0, 1]).abs().max() < 0.3
    assert augmentation(picture, label(brightness=0.5)).max() == 1


def test_each_change_comes_as_often_as_asked() -> None:
    augmentation = Augmentation(probability=0.25, flip=True, shift=0.1, scale=0.2, rotate=20, brightness=0.1, saturation=0.3)
    draws = np.random.default_rng(0).random((4000, 2 * len(LABELS)))
    labels = augmentation.labels(draws)
    for share in (labels != 0).float().mean(0).tolist():
        assert share == pytest.approx(0.25, abs=0.03)
    assert labels[:, 1][labels[:, 1] != 0].std() == pytest.approx(0.1, rel=0.1)
    assert labels[:, 4].abs().max() <= 20 / 180


def test_what_is_done_depends_on_the_position_alone(shapes: Path, tmp_path: Path) -> None:
    pack = ensure_pack(shapes, cache=tmp_path)
    augmentation = Augmentation(probability=0.5, flip=True, shift=0.1, rotate=20)
    one, many = (Loader(pack, np.arange(len(pack)), batch_size=size, seed=3, augmentation=augmentation) for size in (1, 12))
    whole = many.batch(0)
    assert whole.changes is not None
    for position in (0, 5, 11):
        single = one.batch(position)
        assert single.changes is not None
        assert torch.equal(single.changes[0], whole.changes[position])
        assert torch.equal(single.inputs["image"][0], whole.inputs["image"][position])
    assert whole.changes.any()


def test_a_recipe_with_augmentation_trains(small_recipe: Recipe, tmp_path: Path) -> None:
    from rich.console import Console

    from tonggan.training.recipe import parse_recipe
    from tonggan.training.run import Run

    settings = small_recipe.model_dump(mode="json")
    set_dotted(settings, "data.augment", {"flip": True, "probability": 0.5})
    set_dotted(settings, "model.decoders.image.augmentation_labels", len(LABELS))
    run = Run(parse_recipe(settings, where="test"), tmp_path / "run", resume=False, console=Console(quiet=True), cache=tmp_path)
    run.train()
    weights = run.model.decoders["image"].network.changes.weight  # type: ignore[union-attr]
    assert weights.grad is not None
    assert weights.grad[:, 0].any()


def test_clips_are_flipped_whole_and_by_nothing_else(clips: Path, tmp_path: Path) -> None:
    pack = ensure_pack(clips, cache=tmp_path)
    plain, changing = (
        Loader(pack, pack.indices("train"), batch_size=8, seed=3, augmentation=each) for each in (None, Augmentation(probability=0.5, flip=True))
    )
    seen, changed = plain.batch(0).inputs, changing.batch(0)
    flipped = changed.changes[:, 0] > 0
    assert 0 < int(flipped.sum()) < 8
    for row in range(8):
        assert torch.equal(changed.inputs["video"][row], seen["video"][row].flip(-1) if flipped[row] else seen["video"][row])
    assert torch.equal(changed.inputs["audio"], seen["audio"])
    with pytest.raises(UserError, match="left and right alone"):
        Augmentation(rotate=5.0).of_clips(seen["video"], changed.changes)
