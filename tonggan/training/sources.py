"""What a run trains on: the pack of a recipe's data set, parted into rows to train on and rows held out."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from tonggan.data.forms import FORMS
from tonggan.data.loader import FIELD, Batch, Loader, Phrasings, batch_of, chosen_caption, fields_of, hold_out, offered, unfilled
from tonggan.data.pack import Pack, ensure_pack
from tonggan.data.preferences import Preferences, read_preferences
from tonggan.data.seen_rows import Rows
from tonggan.discriminators.game import FEW_LOOKED_AT
from tonggan.errors import UserError, nearest
from tonggan.model import ends
from tonggan.progress import counted, progress_bars
from tonggan.training.recipe import Recipe

FEW_HELD = 8
"""Rows below which a held-out loss is said to be of little worth."""
ROWS_LOOKED_AT = 100
"""Rows whose tags are named where a phrasing asks for one that there is not."""
HELD_OUT_BATCH = 32
"""Rows of a held-out batch: a size of its own, for an alignment grows with the rows that it tells apart, and losses of two runs are to compare."""
HELD_OUT_SEED = 1
"""Of the order, captions, times and noise of held-out batches: the same whatever seed is trained with."""


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it holds out; `watched` are rows that outputs are made and measured for."""

    pack: Pack
    loader: Loader
    held_out: list[Batch]
    previews: Batch
    count: int
    watched: npt.NDArray[np.int64]
    train_rows: Rows
    """The rows that are learned from, by what is in them."""
    held_rows: Rows
    """The rows that are held out."""
    preferences: Preferences | None = None
    """All preferences, those that are held out included."""
    languages: Mapping[str, int] = field(default_factory=dict)
    """How many captions in each language are trained on, most first."""
    apart: bool = True
    """Whether what is judged was kept apart; where nothing is held out it is trained on, too."""


def check_there(recipe: Recipe) -> None:
    """Raise `UserError` where a recipe's data set is not there."""
    data = recipe.data
    if not Path(data.path).exists():
        raise UserError(
            f"{data.path}: no such file or folder. Name what is to be learned from behind train, as data.path=FOLDER. (tonggan data fetch emoji builds the drawings "
            "of emoji-64, tonggan data synth foley makes the clips of foley.)"
        )


def open_pack(recipe: Recipe, *, cache: Path) -> Pack:
    """Open the pack of a recipe's data set, or make it; raises `UserError` where there is none, or one of another form than the recipe's."""
    check_there(recipe)
    data = recipe.data
    with progress_bars() as show:
        pack = ensure_pack(Path(data.path), framing=data.framing, cache=cache, max_broken_rate=data.max_broken_rate, progress=show)
    for name, found in pack.otherwise(data.framing).items():
        wanted = getattr(data.framing, name)
        settings = " ".join(f"{key}={found}" for key in recipe.same_as_data(name))
        raise UserError(
            f"{data.path} is packed with {name} {found}, the recipe wants {wanted}. Set {settings} behind train, all of them, "
            f"or pack again with --{name.replace('_', '-')} {wanted}."
        )
    return pack


def open_data(recipe: Recipe, *, cache: Path, console: Console, seen: Rows | None = None, kept: Rows | None = None) -> Data:
    """Open or make the pack of a recipe and part it into training and held-out rows.

    Rows that were `seen` by what the run begins from are not held out while there are others; `kept` are the rows held out so far by a run that goes on.
    """
    pack = open_pack(recipe, cache=cache)
    indices = pack.indices(recipe.data.train_split)
    rows = pack.digests(indices)
    is_held = hold_out(rows, share=recipe.data.hold_out, seed=recipe.data.hold_out_seed, seen=seen) if kept is None else np.isin(rows, kept)
    train, held = indices[~is_held], indices[is_held]
    if len(train) == 0:
        raise UserError(f"split '{recipe.data.train_split}' of {recipe.data.path} has no rows to train on.")
    console.print(f"data: {counted(len(train), 'rows')} to train on, {len(held):,} held out, of {len(pack):,} in {pack.path}")
    for line in [*_left_out(pack), *_doubts(rows[is_held], seen, judged=recipe.objectives.judged() is not None)]:
        console.print(f"data: {line}")
    phrasings = recipe.data.loader_phrasings()
    said = recipe.data.loader_target_phrasings()
    check_languages(recipe, pack, np.sort(np.concatenate([train, held])))
    languages = {language: count for language, (count, _) in _spoken(pack, train, phrasings).items()}
    if told := _unphrased(pack, train, [each for each in (phrasings, said) if each], languages):
        console.print(told)
    preferences, learned, watched = open_preferences(recipe, console=console)
    fixed = held if len(held) else train
    previewed = spread(fixed, recipe.monitor.previews)
    captions = [chosen_caption(pack.row(int(i)), phrasings, 0) for i in previewed]
    return Data(
        pack,
        loader=_training_loader(recipe, pack, train, preferences=learned),
        held_out=_held_out_batches(recipe, pack, fixed, preferences=watched),
        previews=batch_of(pack, previewed, captions),
        count=len(train),
        watched=np.asarray(spread(fixed, recipe.monitor.evaluate_rows)),
        train_rows=rows[~is_held],
        held_rows=rows[is_held],
        preferences=preferences,
        languages=languages,
        apart=len(held) > 0 if watched is None else watched is not learned,
    )


def _training_loader(recipe: Recipe, pack: Pack, rows: npt.NDArray[np.int64], *, preferences: Preferences | None) -> Loader:
    """Return the loader of the rows and preferences that are learned from."""
    return Loader(
        pack,
        rows,
        batch_size=recipe.schedule.batch_size,
        seed=recipe.seed,
        phrasings=recipe.data.loader_phrasings(),
        target_phrasings=recipe.data.loader_target_phrasings(),
        augmentation=recipe.data.augmentation(),
        preferences=preferences,
        shifts=recipe.objectives.shifts(),
        balance=recipe.data.loader_balance(),
    )


def _held_out_batches(recipe: Recipe, pack: Pack, rows: npt.NDArray[np.int64], *, preferences: Preferences | None) -> list[Batch]:
    """Return the batches that a held-out loss is measured on: rows as often as they come, pictures as they are."""
    loader = Loader(
        pack,
        rows,
        batch_size=HELD_OUT_BATCH,
        seed=HELD_OUT_SEED,
        phrasings=recipe.data.loader_phrasings(),
        target_phrasings=recipe.data.loader_target_phrasings(),
        preferences=preferences,
        shifts=recipe.objectives.shifts(),
    )
    count = min(recipe.monitor.validation_samples, len(rows if preferences is None else preferences))
    return [loader.batch(begin, size=min(HELD_OUT_BATCH, count - begin)) for begin in range(0, count, HELD_OUT_BATCH)]


def spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return `count` rows from all over, or those that there are."""
    return rows[:: max(1, len(rows) // count)][:count]


def _left_out(pack: Pack) -> Iterator[str]:
    """Say what of a data set is not in its pack."""
    if skipped := pack.facts.get("skipped"):
        yield f"left out, {counted(len(skipped), 'files')} that cannot be read: {', '.join(list(skipped)[:5])}{', ...' if len(skipped) > 5 else ''}"
    yield from pack.facts.get("notes", ())
    if FORMS[pack.modality].captioned and (count := pack.facts.get("uncaptioned", 0)):
        yield f"{count:,} without a caption are left out"


def _doubts(held: Rows, seen: Rows | None, *, judged: bool) -> Iterator[str]:
    """Say why a loss over the rows `held` out may be worth little: none, few, or what the run begins from has `seen` them; and, where a discriminator
    `judged` what is made, what a look at them cannot see."""
    if not len(held):
        yield "nothing is held out (data.hold_out): what is called held-out loss here is measured on rows that are trained on"
    elif len(held) < FEW_HELD:
        yield f"a held-out loss over {counted(len(held), 'rows')} says little of which average is best; data.hold_out is the share that is kept apart"
    if judged and len(held) < FEW_LOOKED_AT:
        collapsed = ", nor, with one alone, whether what is made is alike for all captions" if len(held) == 1 else ""
        yield (
            f"by {counted(len(held), 'rows')} held out it cannot be seen whether the discriminator learns the others by heart{collapsed}: "
            f"raise data.hold_out until there are {FEW_LOOKED_AT}"
        )
    if seen is not None and (again := int(np.isin(held, seen).sum())):
        yield (
            f"what this run begins from learned from {again:,} of the {len(held):,} rows held out, for it learned from all that are here: "
            "the held-out loss says how well it remembers them"
        )


def _spoken(pack: Pack, rows: npt.NDArray[np.int64], phrasings: Phrasings | None) -> dict[str, tuple[int, str]]:
    """Return the languages that the captions of `rows` are drawn in, most first: how many captions each has, and the first file that has one."""
    counts, first = Counter[str](), dict[str, str]()
    for index in rows:
        row = pack.row(int(index))
        for language in offered(row, phrasings):
            counts[language] += len(row.captions[language])
            first.setdefault(language, row.file_name)
    return {language: (count, first[language]) for language, count in counts.most_common()}


def _unphrased(pack: Pack, rows: npt.NDArray[np.int64], phrasings: Sequence[Phrasings], languages: Collection[str]) -> str:
    """Say which templates no row fills and what the first of them may have meant; nothing where all are filled."""
    templates = list(dict.fromkeys(template for each in phrasings for template in unfilled(pack, rows, each, languages=languages)))
    if not templates:
        return ""
    known = {"caption", *(name for index in rows[:ROWS_LOOKED_AT] for name in fields_of(pack.row(int(index)).tags))}
    strange = next((name for template in templates for name in FIELD.findall(template) if name not in known), None)
    others = f" (nor {counted(len(templates) - 1, 'others')})" if len(templates) > 1 else ""
    why = f" No row has a '{strange}'.{nearest(strange, known)}" if strange else ""
    return f"data: no row fills the phrasing '{templates[0]}'{others}: where it has no other, its caption stands as it is.{why}"


def check_languages(recipe: Recipe, pack: Pack, rows: npt.NDArray[np.int64]) -> None:
    """Raise `UserError` where captions of `rows` are to be written in languages that the decoder of a trained arrow is not to learn."""
    data = recipe.data
    phrasings = data.loader_phrasings() if data.target_phrasings is None else data.loader_target_phrasings()
    for target in dict.fromkeys(ends(arrow)[1] for arrow in recipe.objectives.trained()):
        known: Sequence[str] = getattr(recipe.model.decoders.get(target), "languages", ())
        strange = {language: said for language, said in _spoken(pack, rows, phrasings).items() if language not in known} if known else {}
        if strange:
            told = ", ".join(f"{count:,} caption{'s' * (count > 1)} in '{language}' (first: {name})" for language, (count, name) in strange.items())
            raise UserError(
                f"{data.path} has {told}, and the {target} decoder writes {', '.join(known)} alone. Take them out, or let it learn them: "
                f"model.decoders.{target}.languages=[{','.join([*known, *strange])}]"
            )


def open_preferences(recipe: Recipe, *, console: Console) -> tuple[Preferences, Preferences, Preferences] | tuple[None, None, None]:
    """Read the preferences that a recipe learns from and return (all, those learned from, those held out); Nones where it learns from none.

    With one prompt alone nothing can be held out, and what is learned from is watched. Raises `UserError` as `read_preferences` does.
    """
    prefer = recipe.objectives.prefer
    if prefer is None:
        return None, None, None
    source, target = ends(recipe.objectives.trained()[0])
    every = read_preferences(Path(prefer.preferences), source=source, target=target, framing=recipe.data.framing)
    learned, held = every.hold_out(prefer.hold_out, seed=recipe.data.hold_out_seed)
    console.print(f"preferences: {len(learned):,} to learn from, {len(held):,} held out; {every.others:,} of other arrows left out")
    return every, learned, held if len(held) else learned
