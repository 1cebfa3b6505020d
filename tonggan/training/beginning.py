"""How training begins: the model as a recipe starts it, what stands beside it, and the learner that moves it."""

import math
from dataclasses import dataclass
from typing import cast

import torch

from tonggan.arithmetic import choose_device, choose_dtype
from tonggan.data.augment import LABELS
from tonggan.data.loader import Loader
from tonggan.data.seen_rows import Rows, joined
from tonggan.errors import UserError
from tonggan.model import CrossModalModel, ends
from tonggan.model_folder import Loaded, begin_from, load_model
from tonggan.parts import Part
from tonggan.players import check_objectives, check_used
from tonggan.training.fitting import but_refitted, fit_parts, words_of
from tonggan.training.loop import Learner, check_learning, freeze
from tonggan.training.recipe import Recipe

ENDLESS = 10**9
"""Samples of a schedule that is not to end while something is measured."""


@dataclass(frozen=True)
class Begun:
    """A model before its first step, and the trained one that it began from, with the parts taken over; None where it began from nothing."""

    model: CrossModalModel
    initial: Loaded | None
    taken: tuple[Part, ...] = ()


def begin(recipe: Recipe) -> Begun:
    """Return a recipe's model, seeded and taken over from `initial`; it is to be fitted by `fit` yet.

    Raises `UserError` where weights that it asks for are missing or do not know what it is to learn, and where its objectives ask for what it has not, or for
    what is frozen.
    """
    torch.manual_seed(recipe.seed)
    model = CrossModalModel(recipe.model)
    freeze(model, recipe.frozen)
    check_objectives(model, recipe.objectives)
    check_learning(model, recipe)
    check_used(recipe.objectives)
    _check_labels(model, recipe)
    if recipe.initial is None:
        return Begun(model, None)
    initial, taken = begin_from(model, recipe.initial)
    for part in but_refitted(model, taken, recipe.refit):
        part.check_taken()
    return Begun(model, initial, tuple(taken))


def _check_labels(model: CrossModalModel, recipe: Recipe) -> None:
    """Raise `UserError` where a decoder that is trained is told of augmentation by another number of labels than the data gives."""
    for target in {ends(arrow)[1] for arrow in recipe.objectives.trained()} if recipe.data.augment is not None else ():
        count = getattr(cast(Part, model.decoders[target]).config, "augmentation_labels", 0)
        if count not in (0, len(LABELS)):
            raise UserError(
                f"model.decoders.{target}.augmentation_labels is {count}, data.augment gives {len(LABELS)} labels. Set it to {len(LABELS)}."
            )


def fit(begun: Begun, recipe: Recipe, loader: Loader, *, samples: int) -> None:
    """Fit what gradients do not teach, and what was not taken over, to `samples` of the stream: the model is then as it is before its first step."""
    known = [] if begun.initial is None else but_refitted(begun.model, begun.taken, recipe.refit)
    fit_parts(begun.model, loader, samples=samples, known=known)


def words_known(begun: Begun, loader: Loader) -> frozenset[str] | None:
    """Return the words that a model will have seen: of the captions here, and of those that a text encoder which was taken over learned from.

    None where it has no text encoder, where that one's words are not known, and where a memory tells them.
    """
    model, initial = begun.model, begun.initial
    if "text" not in model.encoders or model.memories:
        return None
    if initial is None or model.encoders["text"] not in begun.taken:
        return words_of(loader)
    return None if initial.words is None else words_of(loader).union(initial.words)


def seen_before(begun: Begun, beside: Loaded | None) -> Rows | None:
    """Return the rows that a model's initial weights, and what stands beside it, learned from: none where it begins from nothing, None where they are not known."""
    return joined(*(each.rows for each in (begun.initial, beside) if each is not None))


def taken_over(recipe: Recipe, begun: Begun) -> list[str]:
    """Say of a fitted model what it has of the trained one that it began from, and what not; nothing where it began from none."""
    initial = begun.initial
    if initial is None:
        return []
    parts = {f"{room}.{name}": part for room in ("encoders", "decoders") for name, part in getattr(begun.model, room).items()}
    anew = ", ".join(name for name, part in parts.items() if part not in begun.taken)
    rest = f"{anew} start{'' if ',' in anew else 's'} anew" if anew else "all of them"
    said = [f"begins from '{recipe.initial}': {len(begun.taken)} of {len(parts)} parts are the same ({rest})"]
    for name, theirs in initial.model.memories.items():
        own = begun.model.memories.get(name)
        if own is not None and own.names != theirs.names:
            said.append(
                f"the {len(theirs):,} rows that '{recipe.initial}' remembers are left behind: what the {name} decoder looks at are the {len(own):,} trained on here"
            )
    arrows = list(initial.config["recipe"]["objectives"]["arrows"])
    if lost := [arrow for arrow in arrows if arrow not in recipe.objectives.arrows]:
        said.append(
            f"'{recipe.initial}' does {', '.join(arrows)}; {', '.join(lost)} is lost, for objectives.arrows of this recipe has it not. "
            "Begin with a recipe that has it to keep it."
        )
    if initial.rows is None:
        said.append(f"'{recipe.initial}' does not say which rows it learned from: it may know some of those that are held out here")
    return said


def notices(recipe: Recipe, begun: Begun, *, samples: int) -> list[str]:
    """Say what a recipe, its parts frozen as it has them, may not be meant to do in a run of so many `samples`.

    It may leave an encoder untaught, a decoder untold of augmentation, or warm up for most of the run.
    """
    warmup = recipe.schedule.warmup_samples
    return (
        [
            f"the learning rate rises for {warmup:,} of {samples:,} samples, more than a third of the run: schedule.warmup_samples={max(1, samples // 10)} "
            "lets it learn sooner."
        ]
        * (3 * warmup > samples)
        + [
            f"nothing teaches encoders.{name}: no arrow begins there, nothing aligns it, and no trained one is taken over. What reads by it "
            "(search, the best of n) will read nothing."
            for name in untaught(recipe, begun)
        ]
        + [
            f"data.augment changes what decoders.{name} learns to make, and it is not told how: it will make changed ones, too. A decoder of kind "
            "image_flow takes augmentation_labels; beside a discriminator, objectives.adversarial.augment leaks nothing."
            for name in untold(recipe, begun.model)
        ]
    )


def untaught(recipe: Recipe, begun: Begun) -> list[str]:
    """Return the encoders that stay as they were drawn at random: no arrow or prompt uses them, nothing aligns them, and none was taken over."""
    objectives, model = recipe.objectives, begun.model
    if objectives.decoder_alone() is not None:
        learning = set[str]()
    else:
        trained = [way for way in map(ends, objectives.trained()) if model.hears(*way)]  # a vocoder that learns alone listens to nothing
        learning = {source for source, _ in trained} | {kind for way in trained if (kind := model.prompt_kind(*way)) is not None}
        learning |= set(model.encoders) if objectives.align or objectives.added() else set()
    return [name for name, encoder in model.encoders.items() if name not in learning and encoder not in begun.taken]


def untold(recipe: Recipe, model: CrossModalModel) -> list[str]:
    """Return the trained decoders whose targets augmentation changes and that cannot be told how: they learn to make changed ones, too."""
    if recipe.data.augment is None:
        return []
    targets = dict.fromkeys(ends(arrow)[1] for arrow in recipe.objectives.trained())
    return [
        name
        for name in targets
        if name == "image" and name in model.decoders and not getattr(cast(Part, model.decoders[name]).config, "augmentation_labels", 0)
    ]


def companion(recipe: Recipe) -> Loaded | None:
    """Return the model that stands beside the one that is trained and does not move: a teacher, or a reference for preferences; None where there is none.

    A reference that is not named is what the run starts from. It is made anew, so that a resumed run has the same.
    """
    distil, prefer = recipe.objectives.distil, recipe.objectives.prefer
    named = distil.teacher if distil is not None else prefer.reference if prefer is not None else None
    if named is not None:
        return load_model(named)
    if prefer is None:
        return None
    torch.manual_seed(recipe.seed)
    model = CrossModalModel(recipe.model)
    digest = "" if recipe.initial is None else begin_from(model, recipe.initial)[0].weights_hash
    return Loaded(model.to(memory_format=torch.channels_last).eval(), {}, digest)


def total_samples(recipe: Recipe, count: int) -> int:
    """Return the samples of the whole schedule, given how many rows an epoch has."""
    schedule = recipe.schedule
    return schedule.samples if schedule.samples is not None else math.ceil((schedule.epochs or 0) * count)


def chosen_dtype(recipe: Recipe) -> str:
    """Return the recipe's dtype; `auto` is what is fast and right on its device."""
    return choose_dtype(choose_device(recipe.device)).dtype if recipe.dtype == "auto" else recipe.dtype


def learner_of(model: CrossModalModel, recipe: Recipe, *, beside: Loaded | None, total_samples: int, dtype: str) -> Learner:
    """Return the learner of a model on the recipe's device, with what stands `beside` it."""
    device = choose_device(recipe.device)
    return Learner(model, recipe, total_samples, dtype, device=device, teacher=None if beside is None else beside.model.to(torch.device(device)))


def trial(recipe: Recipe, begun: Begun, loader: Loader, *, beside: Loaded | None, samples: int = 1) -> Learner:
    """Return the learner of a recipe, of what `begin` and `companion` gave, for a few steps that are measured: fitted to few samples, with no end in sight."""
    fit(begun, recipe, loader, samples=samples)
    return learner_of(begun.model, recipe, beside=beside, total_samples=ENDLESS, dtype=chosen_dtype(recipe))
