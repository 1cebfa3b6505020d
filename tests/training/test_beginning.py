import re
import shutil
from io import StringIO
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from rich.console import Console

from tonggan.data.pack import pack
from tonggan.errors import UserError
from tonggan.pipeline import Tonggan
from tonggan.training.recipe import Recipe, parse_recipe, set_dotted
from tonggan.training.run import Run, called

QUIET = Console(quiet=True)


def test_weights_that_are_not_there_are_missed_before_anything_is_packed(small_recipe: Recipe, tmp_path: Path) -> None:
    for key, value in {"initial": "emoji-46", "model.encoders.text": {"kind": "text_pretrained", "model": str(tmp_path / "none")}}.items():
        settings = small_recipe.model_dump(mode="json")
        set_dotted(settings, key, value)
        with pytest.raises(UserError):
            Run(parse_recipe(settings, where="test"), tmp_path / "out" / "run", resume=False, console=QUIET)
        set_dotted(settings, "data.path", str(tmp_path / "no-data"))
        with pytest.raises(UserError, match="no-data: no such file or folder"):  # said first: it is the sooner mended
            Run(parse_recipe(settings, where="test"), tmp_path / "out" / "run", resume=False, console=QUIET)
        assert not (tmp_path / "out").exists()


def test_a_run_begins_from_a_trained_model(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "first", resume=False, console=QUIET).train()
    trained = Tonggan.from_pretrained(tmp_path / "first")
    again = small_recipe.model_copy(update={"initial": str(tmp_path / "first")})
    begun = Run(again, tmp_path / "second", resume=False, console=QUIET)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(begun.model.state_dict()[name], tensor), name
    begun.train()
    config = Tonggan.from_pretrained(tmp_path / "second").config
    assert config["trained"]["before"]["samples"] == trained.config["trained"]["samples"]
    card = (tmp_path / "second" / "model" / "README.md").read_text()
    assert all(said in card for said in ("# second\n", "by the recipe emoji-64 for", "after 64 of 'first'"))  # models of one recipe are told apart
    assert called(again.model_copy(update={"name": "cats"}), tmp_path / "second") == "cats"

    def changed(**changes: object) -> Recipe:
        settings = again.model_dump(mode="json")
        for key, value in changes.items():
            set_dotted(settings, key.replace("__", "."), value)
        return parse_recipe(settings, where="test")

    console = Console(file=StringIO(), width=300)
    part = Run(
        changed(model__decoders__image__layers=2, model__encoders__image__channels=[8, 8, 8]), tmp_path / "third", resume=False, console=console
    )
    assert "parts are the same (encoders.image starts anew)" in console.file.getvalue()
    assert "arithmetic: float32\n" in console.file.getvalue()
    taken = {name: tensor for name, tensor in trained.model.state_dict().items() if name.startswith(("encoders.text", "decoders.image"))}
    assert all(torch.equal(part.model.state_dict()[name], tensor) for name, tensor in taken.items())
    foreign = changed(model__decoders__image__width=40, model__encoders__text__width=32, model__encoders__image__channels=[8, 8, 8])
    with pytest.raises(UserError, match="nothing can be taken over"):
        Run(foreign, tmp_path / "fourth", resume=False, console=QUIET)


def test_rows_that_a_model_was_begun_from_are_known(small_recipe: Recipe, shapes: Path, tmp_path: Path) -> None:
    """The second run learns from another split; the third from the first one's again, and has only its held-out rows to hold out."""
    Run(small_recipe, tmp_path / "first", resume=False, console=QUIET).train()
    settings = small_recipe.model_dump(mode="json")
    set_dotted(settings, "initial", str(tmp_path / "first"))
    set_dotted(settings, "data.train_split", "test")
    Run(parse_recipe(settings, where="test"), tmp_path / "second", resume=False, console=QUIET).train()
    first, second = (Tonggan.from_pretrained(tmp_path / name) for name in ("first", "second"))
    packed = pack(shapes, framing=first.framing, out=tmp_path / "pack")
    known = second.learned_from(packed, packed.indices("train"))
    assert known is not None
    assert known.tolist() == cast(np.ndarray, first.learned_from(packed, packed.indices("train"))).tolist()
    set_dotted(settings, "initial", str(tmp_path / "second"))
    set_dotted(settings, "data.train_split", "train")
    set_dotted(settings, "data.hold_out_seed", 5)
    third = Run(parse_recipe(settings, where="test"), tmp_path / "third", resume=False, console=QUIET)
    assert set(third.data.held_rows) <= set(packed.digests(packed.indices("train")[~known]))
    set_dotted(settings, "data.hold_out", 0.0)
    everything = Run(parse_recipe(settings, where="test"), tmp_path / "all", resume=False, console=QUIET)
    everything.train()
    console = Console(file=StringIO(), width=300)
    set_dotted(settings, "initial", str(tmp_path / "all"))
    set_dotted(settings, "data.hold_out", 0.2)
    Run(parse_recipe(settings, where="test"), tmp_path / "fourth", resume=False, console=console)
    assert re.search(r"learned from (\d+) of the \1 rows held out", console.file.getvalue())


def test_a_run_says_what_it_leaves_of_the_model_that_it_begins_from(small_recipe: Recipe, shapes: Path, tmp_path: Path) -> None:
    said = {"kind": "text_autoregressive", "latent_width": 320, "width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "languages": ["en"]}
    settings = small_recipe.model_dump(mode="json")
    settings["model"]["decoders"]["text"] = said
    settings["objectives"]["arrows"] = {"text->image": 1.0, "image->text": 0.0}
    Run(parse_recipe(settings, where="test"), tmp_path / "first", resume=False, console=QUIET).train()
    mine = tmp_path / "mine"
    shutil.copytree(shapes, mine)
    rows = (mine / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    (mine / "metadata.jsonl").write_text("\n".join(rows[:8]) + "\n", encoding="utf-8")
    told = StringIO()
    settings = small_recipe.model_dump(mode="json") | {"initial": str(tmp_path / "first")}
    for name, path in (("same", shapes), ("other", mine)):
        set_dotted(settings, "data.path", str(path))
        told = StringIO()
        Run(parse_recipe(settings, where="test"), tmp_path / name, resume=False, console=Console(file=told, width=400))
        assert ("rows that" in told.getvalue()) == (name == "other")
    assert "are left behind: what the image decoder looks at are the 3 trained on here" in told.getvalue()
    assert "does text->image, image->text; image->text is lost, for objectives.arrows of this recipe has it not" in told.getvalue()


@pytest.mark.parametrize(("warmup", "said"), [(22, True), (21, False)])
def test_a_warm_up_that_is_long_for_its_run_is_said(small_recipe: Recipe, tmp_path: Path, warmup: int, said: bool) -> None:
    schedule = small_recipe.schedule.model_copy(update={"warmup_samples": warmup})
    told = StringIO()
    Run(small_recipe.model_copy(update={"schedule": schedule}), tmp_path / "run", resume=False, console=Console(file=told, width=400))
    assert ("rises for 22 of 64 samples, more than a third of the run: schedule.warmup_samples=6 lets" in told.getvalue()) == said


def test_what_is_frozen_does_not_move(small_recipe: Recipe, tmp_path: Path) -> None:
    still = ("encoders.text", "space.null_point")
    run = Run(small_recipe.model_copy(update={"frozen": still}), tmp_path / "run", resume=False, console=QUIET)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.train()
    after = Tonggan.from_pretrained(tmp_path / "run").model.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith(still) for name in moved)
    assert any(name.startswith("decoders.image") for name in moved)
    with pytest.raises(UserError, match=r"no 'encoders\.txt'.*Did you mean 'encoders\.text'"):
        Run(small_recipe.model_copy(update={"frozen": ("encoders.txt",)}), tmp_path / "other", resume=False, console=QUIET)


DISTIL = {"objectives.align": 0.0, "objectives.distil": {"teacher": "emoji-64", "steps": 6}, "model.decoders.image.guidance_scale": 1.0}
VOTES = {"objectives.align": 0.0, "objectives.prefer": {"preferences": "none.jsonl"}}
LABELLED = {"data.augment": {"flip": True}, "model.decoders.image.augmentation_labels": 3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (DISTIL | {"model.decoders.image.num_inference_steps": 4}, r"distil\.steps=6 is not a multiple of the decoder's num_inference_steps=4"),
        (
            DISTIL | {"objectives.distil": {"teacher": "emoji-64", "steps": 6, "stride": 4}},
            r"distil\.steps=6 is not a multiple of objectives\.distil\.stride=4",
        ),
        (DISTIL | {"model.decoders.image": {"kind": "image_deconv", "latent_width": 320}}, "'image_deconv' cannot be distilled"),
        (DISTIL | {"objectives.align": 0.1}, r"objectives\.distil trains a decoder alone, so objectives\.align would have no effect"),
        (VOTES | {"objectives.align": 0.1}, r"objectives\.prefer trains a decoder alone, so objectives\.align would have no effect"),
        (VOTES | {"objectives.kl": 0.1, "model.space.variational": True}, r"so objectives\.kl would have no effect"),
        (VOTES | {"objectives.arrows": {"text->image": 0.5}}, r"the weight of text->image \(0\.5\) would have no effect"),
        ({"objectives.align": 0.1, "objectives.align_time_shifts": [0.1, 0.2]}, "needs encoders of two modalities that have time"),
        (LABELLED, r"decoders\.image\.augmentation_labels is 3, data\.augment gives 7 labels"),
    ],
)
def test_what_would_break_or_be_ignored_is_refused_before_anything_is_packed(
    small_recipe: Recipe, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    settings = small_recipe.model_dump(mode="json")
    settings["model"]["decoders"]["image"]["num_inference_steps"] = 6
    for key, value in changes.items():
        set_dotted(settings, key, value)
    with pytest.raises(UserError, match=said):
        Run(parse_recipe(settings, where="test"), tmp_path / "out" / "run", resume=False, console=QUIET)
    assert not (tmp_path / "out").exists()


def test_nothing_left_to_learn_is_one_line(small_recipe: Recipe, tmp_path: Path) -> None:
    frozen = small_recipe.model_copy(update={"frozen": ("encoders", "space", "decoders")})
    with pytest.raises(UserError, match="frozen: encoders, space, decoders leave nothing of the model that could learn"):
        Run(frozen, tmp_path / "out" / "run", resume=False, console=QUIET)
    assert not (tmp_path / "out").exists()  # it is said before anything is packed


@pytest.mark.parametrize(("align", "said"), [(0.0, True), (0.1, False)])
def test_an_encoder_that_nothing_teaches_is_named(small_recipe: Recipe, tmp_path: Path, align: float, said: bool) -> None:
    recipe = small_recipe.model_copy(update={"objectives": small_recipe.objectives.model_copy(update={"align": align})})
    told = StringIO()
    Run(recipe, tmp_path / "run", resume=False, console=Console(file=told, width=400))
    assert ("nothing teaches encoders.image" in told.getvalue()) == said


@pytest.mark.parametrize("told_how", [True, False])
def test_a_decoder_that_is_not_told_what_augmentation_did_is_named(small_recipe: Recipe, tmp_path: Path, told_how: bool) -> None:
    pytest.importorskip("torchvision")
    settings = small_recipe.model_dump()
    settings["data"]["augment"] = {"flip": True}
    settings["model"]["decoders"]["image"]["augmentation_labels"] = 7 if told_how else 0
    told = StringIO()
    Run(Recipe.model_validate(settings), tmp_path / "run", resume=False, console=Console(file=told, width=400))
    assert ("decoders.image learns to make, and it is not told how" in told.getvalue()) == (not told_how)
