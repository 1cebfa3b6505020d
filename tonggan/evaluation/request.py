"""An evaluation as it is asked for: any arrow, by names alone, so that a card can ask for it again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tonggan.data.forms import TIMES
from tonggan.data.pack import MAX_BROKEN_RATE, Pack, ensure_pack
from tonggan.errors import UserError, nearest
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Column, Figure
from tonggan.evaluation.curves import journal_of
from tonggan.evaluation.drawing import BestOf, choose
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.features import FeatureExtractor
from tonggan.evaluation.nets import load_nets
from tonggan.evaluation.others import OtherPictures, Others, other_pictures, other_sentences, pictures_in
from tonggan.evaluation.sentences import evaluate_sentences
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.evaluation.sounds_of_words import evaluate_sounds_of_words
from tonggan.modalities import AS_PACKED, Framing
from tonggan.modalities.image import open_picture
from tonggan.model import ends
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

ARROWS = ("text->image", "image->text", "video->audio", "text->audio", "audio->text")
RELATIVE_TOLERANCE = 1e-3
INTERVAL_TOLERANCE = 0.01
"""A figure repeats where it differs by no more than a thousandth of itself or a hundredth of its interval: threads and processors round otherwise."""


@dataclass(frozen=True)
class Request:
    """What is evaluated, on what, and by what; paths as the user gave them."""

    model: str
    data: str
    split: str = "test"
    arrow: str = "text->image"
    language: str = "en"
    seed: int = 0
    limit: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the decoder that replace its own."""
    best_of: int = 1
    """Pictures that are drawn of each caption; the one that lies nearest to it is measured."""
    features: tuple[str, ...] = ()
    """Feature networks besides EfficientNet-Lite0: `inception=FILE`, a folder or a hub id."""
    java: tuple[str, ...] = ()
    """Metrics of sentences that need Java: `meteor`, `spice`."""
    truth: Literal["events", "sound"] = "sound"
    tolerance_seconds: float = 0.05
    pictures: str = ""
    """A folder of pictures of another system, which are judged in the place of a model's (`model` is empty)."""
    captions: str = ""
    """A table of sentences of another system, likewise."""
    like: str = ""
    """A model whose form of pictures, phrasings and training split are taken for outputs of another system, so that both cards compare."""


@dataclass(frozen=True)
class Deviation:
    """A figure that did not repeat: whose column, its key, what it was and what it is now (None where it is missing)."""

    column: str
    key: str
    before: float | None
    now: float | None


def judge(
    request: Request, *, out: Path, beside: Sequence[Card] = (), download: bool = False, trust_code: bool = False, progress: Show | None = None
) -> Card:
    """Evaluate by `request` into `out`; `beside` are earlier cards shown beside, `download` allows feature networks to be fetched,
    `trust_code` code that the model brings to be run.

    Raises `UserError` for an arrow that cannot be evaluated, settings that its decoder does not have, a feature network that cannot be had, and as
    `evaluate` does.
    """
    if request.arrow not in ARROWS:
        raise UserError(f"'{request.arrow}' cannot be evaluated.{nearest(request.arrow, ARROWS)}")
    if request.features and request.arrow != "text->image":
        raise UserError(f"--features are networks for pictures; {request.arrow} makes none. Leave them out.")
    if request.java and request.arrow not in ("image->text", "audio->text"):
        raise UserError(f"--java names metrics of sentences; {request.arrow} makes none. Leave it out.")
    if others := sorted({card.arrow for card in beside} - {request.arrow}):
        raise UserError(f"--beside names cards of {' and '.join(others)}: they have no figure in common with {request.arrow}. Leave them out.")
    nets = load_nets(request.features, download=download)
    if request.pictures or request.captions:
        return _judge_others(request, nets, out=out, beside=beside, trust_code=trust_code, progress=progress)
    model = Tonggan.from_pretrained(request.model, trust_code=trust_code)
    model.model.part(model.model.decoders, ends(request.arrow)[1], "decoder").settings_with(request.settings)
    model.overrides |= dict(request.settings)
    pack = _pack_of(request, model, out, progress)
    asked = _asked(request, pack, model.recipe.data.train_split, out=out, beside=beside, progress=progress)
    asked, cache = replace(asked, seed=request.seed, journal=journal_of(request.model)), out.parent / "features"
    if request.arrow == "video->audio":
        return evaluate_sounds(model, asked, truth=request.truth, tolerance_seconds=request.tolerance_seconds)
    if request.arrow == "text->audio":
        return evaluate_sounds_of_words(model, asked)
    if request.arrow in ("image->text", "audio->text"):
        return evaluate_sentences(model, asked, source=ends(request.arrow)[0], cache=cache, java=request.java)
    return evaluate(model if request.best_of == 1 else BestOf(model, request.best_of, request.seed), asked, cache=cache, nets=nets)


def _asked(request: Request, pack: Pack, train_split: str, *, out: Path, beside: Sequence[Card], progress: Show | None) -> Asked:
    return Asked(
        pack,
        request.split,
        out,
        language=request.language,
        limit=request.limit,
        reference=reference_split(pack, train_split),
        beside=beside,
        request=_plain(asdict(request)),
        progress=progress,
    )


def _judge_others(
    request: Request, nets: Sequence[FeatureExtractor], *, out: Path, beside: Sequence[Card], trust_code: bool, progress: Show | None
) -> Card:
    """Evaluate what another system made of the rows."""
    if request.arrow != ("text->image" if request.pictures else "image->text"):
        raise UserError(f"pictures of another system are judged as text->image and its captions as image->text, not as {request.arrow}.")
    pack, outputs, train_split = _others(request, out, progress, trust_code=trust_code)
    asked, cache = _asked(request, pack, train_split, out=out, beside=beside, progress=progress), out.parent / "features"
    if isinstance(outputs, OtherPictures):
        return evaluate(outputs, asked, cache=cache, nets=nets, shuffled=0)
    return evaluate_sentences(outputs, asked, cache=cache, java=request.java)


def _others(request: Request, out: Path, progress: Show | None, *, trust_code: bool) -> tuple[Pack, Others, str]:
    """Return the data, the outputs of another system, and the split that is called training: all as the model `like` has it, where one is named."""
    like = Tonggan.from_pretrained(request.like, trust_code=trust_code).recipe.data if request.like else None
    if like is not None:
        framing = like.framing
    elif request.pictures:
        framing = Framing(size=max(open_picture(pictures_in(Path(request.pictures))[0]).size))
    else:
        framing = AS_PACKED
    limit = MAX_BROKEN_RATE if like is None else like.max_broken_rate
    pack = ensure_pack(Path(request.data), framing=framing, cache=out.parent / "packs", max_broken_rate=limit, progress=progress)
    pack.require("image", arrow=request.arrow)
    phrasings = None if like is None else like.loader_phrasings() if request.pictures else like.loader_target_phrasings()
    chosen = choose(pack, split=request.split, language=request.language, phrasings=phrasings, seed=0, limit=request.limit)
    find = partial(other_pictures, Path(request.pictures)) if request.pictures else partial(other_sentences, Path(request.captions))
    outputs: Others = find(pack, chosen, split=request.split, phrasings=phrasings)
    return pack, outputs, "train" if like is None else like.train_split


def reference_split(pack: Pack, train_split: str) -> str:
    """Return the split whose rows stand for what a model was trained on: `train_split` where the pack has it, else `train`.

    Where the pack has neither it is `train_split` again: what needs such rows is left out then.
    """
    return next((name for name in (train_split, "train") if name in pack.facts["splits"]), train_split)


def _pack_of(request: Request, model: Tonggan, out: Path, progress: Show | None) -> Pack:
    # As many broken files as the model was trained despite do not stand in the way of judging it.
    limit = model.recipe.data.max_broken_rate
    pack = ensure_pack(Path(request.data), framing=model.framing, cache=out.parent / "packs", max_broken_rate=limit, progress=progress)
    for name, found in pack.otherwise(model.framing).items():
        if name in TIMES:  # pictures of another size are judged, and the card says so
            wanted = getattr(model.framing, name)
            raise UserError(
                f"{request.data} is packed with {name} {found}, and '{request.model}' takes {wanted}: its clips would run at another speed. "
                f"Give the data set itself, or pack it again with --{name.replace('_', '-')} {wanted}."
            )
    return pack


def repeat(
    card: Card, *, out: Path, download: bool = False, trust_code: bool = False, progress: Show | None = None
) -> tuple[Card, int, list[Deviation]]:
    """Evaluate as `card` was, and return the new card, how many figures were compared, and those that differ by more than the tolerance.

    Raises `UserError` where the card does not say how it was made, and where model, data, rows or networks are others by their hashes.
    """
    if not card.request:
        raise UserError("the card does not say how it was asked for: it is of an earlier version, or of another program. Evaluate again.")
    try:
        request = TypeAdapter(Request).validate_python(card.request)
    except ValidationError as error:
        raise UserError(f"the card's request cannot be read: {error.errors()[0]['msg']}.") from error
    # What can be known beforehand is: an evaluation may take hours.
    outputs = request.pictures or request.captions
    if outputs:
        pack, judged, _ = _others(request, out, progress, trust_code=trust_code)
        _refuse_other(f"'{outputs}' holds other outputs", card.model.weights_hash, judged.weights_hash)
    else:
        model = Tonggan.from_pretrained(request.model, trust_code=trust_code)
        _refuse_other(f"'{request.model}' has other weights", card.model.weights_hash, model.weights_hash)
        pack = _pack_of(request, model, out, progress)
    _refuse_other(f"'{request.data}' holds other data", card.data.content_hash, pack.content_hash)
    again = judge(request, out=out, download=download, trust_code=trust_code, progress=progress)
    pairs = {
        "rows": (card.data, again.data),
        "settings": (_plain(card.model.settings), _plain(again.model.settings)),
        "feature networks": ([net.sha256 for net in (card.features, *card.nets)], [net.sha256 for net in (again.features, *again.nets)]),
    }
    if others := [name for name, (before, now) in pairs.items() if before != now]:
        raise UserError(f"{' and '.join(others)} are not what they were: the new card in {out} cannot repeat the old one.")
    return again, sum(len(column.figures) for column in _columns(card)), deviations(card, again)


def _refuse_other(what: str, before: str, now: str) -> None:
    if before != now:
        raise UserError(f"{what} now ({now[:12]}, the card says {before[:12]}): nothing can be repeated.")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are read back from a card: a tuple is a list there."""
    return dict(json.loads(json.dumps(settings)))


def deviations(card: Card, again: Card) -> list[Deviation]:
    """Return the figures of `card`, its columns' too, that `again` does not have within the tolerance."""
    now = {(column.name, figure.key): figure for column in _columns(again) for figure in column.figures}
    found = []
    for column in _columns(card):
        for figure in column.figures:
            other = now.pop((column.name, figure.key), None)
            if other is None or abs(other.value - figure.value) > tolerance(figure):
                found.append(Deviation(column.name, figure.key, figure.value, other.value if other else None))
    return found + [Deviation(name, key, None, figure.value) for (name, key), figure in now.items()]


def tolerance(figure: Figure) -> float:
    """Return by how much a figure may differ when it is repeated."""
    width = figure.high - figure.low if figure.low is not None and figure.high is not None else 0.0
    return max(RELATIVE_TOLERANCE * abs(figure.value), INTERVAL_TOLERANCE * width, 1e-9)


def _columns(card: Card) -> list[Column]:
    return [Column("the model", "", card.figures), *card.columns]
