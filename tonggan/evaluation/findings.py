"""From measurements to what a card says: figures, the columns they are read beside, groups, warnings."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tonggan.evaluation.asked import Asked
from tonggan.evaluation.by_net import ByNet, distance_figures, fit_figures
from tonggan.evaluation.card import Column, Figure, Group
from tonggan.evaluation.clarity import Clarity
from tonggan.evaluation.distances import FRECHET_SAMPLES
from tonggan.evaluation.drawing import Chosen, Drawn, Sample
from tonggan.evaluation.intervals import mean_interval, share_interval
from tonggan.evaluation.kinds import TRUTH
from tonggan.evaluation.measure import Measured
from tonggan.evaluation.retrieval import DISTRACTORS, Ranks, caption_sensitivity, ground_truth_ranks, seed_diversity
from tonggan.evaluation.sliced import SLICED_SAMPLES

GROUP_VALUES = range(2, 21)
GROUP_ROWS = 5


def model_figures(measured: Measured, by_net: Sequence[ByNet] = ()) -> tuple[Figure, ...]:
    """Return all figures of the model."""
    figures = [*distance_figures(measured.drawn, measured.truths), *_retrieval(measured.ranks), *_clarity(measured.clarity)]
    if measured.shuffled:
        figures += _caption_figures(measured)
    if measured.reseeded is not None and (diversity := seed_diversity(measured.drawn, measured.reseeded, measured.truths)):
        figures.append(Figure.of("seed_diversity", diversity, len(measured.reseeded)))
    if measured.nearness:
        figures.append(Figure.of("copy_rate", measured.nearness.copy_rate(), len(measured.drawn)))
    for each in by_net:
        figures += distance_figures(each.drawn, each.truths, family=each.net.family, net=each.net.name)
        figures += fit_figures(each.fit.drawn, each.fit.ranks, net=each.net.name) if each.fit else []
    return tuple(figures)


def columns(measured: Measured, by_net: Sequence[ByNet] = ()) -> tuple[Column, ...]:
    """Return what the model is read beside: other real pictures, the ground truths themselves, and chance."""
    found = [_truth_column(measured, by_net), _chance_column(measured.ranks, by_net)]
    return tuple([_retrieval_column(measured, by_net), _real_column(measured, by_net), *found] if measured.reference else found)


def groups(samples: Sequence[Sample], ranks: Ranks) -> tuple[Group, ...]:
    """Return retrieval by the value of each tag that has 2 to 20 values, such as a drawing style; groups below 5 rows are left out."""
    found = []
    for tag in sorted({tag for sample in samples for tag in sample.tags}):
        values = [tag_value(sample.tags.get(tag)) for sample in samples]
        counts = Counter(value for value in values if value is not None)
        if len(counts) in GROUP_VALUES and sum(counts.values()) >= len(samples) / 2:
            found += [_group(tag, value, values, ranks) for value, count in counts.most_common() if count >= GROUP_ROWS]
    return tuple(found)


def warnings(
    chosen: Chosen,
    drawn: Drawn,
    measured: Measured,
    by_net: Sequence[ByNet],
    asked: Asked,
) -> tuple[str, ...]:
    """Return what a reader must know before believing the figures, a sentence or two each."""
    count, size = len(chosen.samples), asked.pack.size
    found = _size_warnings(count, inception=any(each.net.family == "inception" for each in by_net))
    found += asked.uncaptioned(chosen)
    found += _reference_warnings(measured, count, split=asked.split, reference=asked.reference)
    sizes = sorted({picture.size for picture in drawn.pictures})
    if sizes != [(size, size)]:
        drawn_at = " and ".join(f"{width}x{height}" for width, height in sizes)
        found.append(f"Drawn at {drawn_at}, the ground truths are {size}x{size}: part of the distance is the difference in sharpness.")
    duplicates = int((measured.truth_ranks.tied > 1).sum())
    if duplicates:
        found.append(f"{duplicates:,} ground truths have a duplicate in the split; which of them is hit is left to chance.")
    return tuple(found)


def _size_warnings(count: int, *, inception: bool) -> list[str]:
    """Return which figures are known to mislead at this size."""
    found = []
    if count < FRECHET_SAMPLES:
        found.append(frechet_warning(count, name="FID and every other Fréchet distance" if inception else "The Fréchet distance"))
    if count < SLICED_SAMPLES:
        name = "MIND and the sliced distance" if inception else "The sliced distance"
        found.append(
            f"{name} of {count:,} pictures (fewer than {SLICED_SAMPLES:,}) is biased upwards, and precision, recall, density and coverage hang on the"
            " number of pictures: compare only at equal sample count."
        )
    if count <= DISTRACTORS:
        found.append(f"R-precision needs {DISTRACTORS} other rows beside each of {count}: it is left out.")
    return found


def frechet_warning(count: int, *, name: str = "The Fréchet distance", what: str = "pictures") -> str:
    """Return what is to be known of a Fréchet distance of too few samples."""
    return f"{name} of {count:,} {what} (fewer than {FRECHET_SAMPLES:,}) is biased upwards: compare only at equal sample count."


def _reference_warnings(measured: Measured, count: int, *, split: str, reference: str) -> list[str]:
    known = measured.reference
    if known is None:
        return [f"There are fewer than two pictures in the split '{reference}': the floor of real pictures and the search for copies are left out."]
    found = []
    if known.split == split:
        found.append(f"The reference '{reference}' is the split itself: the floor of real pictures and the search for copies say nothing.")
    elif measured.known_truths:
        found.append(
            f"{measured.known_truths:,} of {count:,} ground truths are to the bit in the training rows ('{reference}'): of them the figures say how well"
            " the model remembers."
        )
    if len(known.rows) < known.split_rows:
        found.append(f"Copies were searched among {len(known.rows):,} of {known.split_rows:,} training pictures: the rate may be too low.")
    if len(known.rows) < count:
        found.append(f"The floor of real pictures has {len(known.rows):,} samples, the model {count:,}: their Fréchet distances do not compare.")
    return found


def _clarity(found: Clarity) -> list[Figure]:
    values = {"sharpness": found.sharpness, "blockiness": found.blockiness, "ringing": found.ringing}
    return [Figure.of(name, mean_interval(each), len(each)) for name, each in values.items()]


def _retrieval(ranks: Ranks) -> list[Figure]:
    found = {
        "recall_at_1": ranks.recall(1),
        "recall_at_5": ranks.recall(5),
        "rank_percentile": ranks.percentile(),
        "r_precision": ranks.r_precision(),
    }
    return [Figure.of(name, interval, len(ranks.closer)) for name, interval in found.items() if interval]


def _caption_figures(measured: Measured) -> list[Figure]:
    assert measured.shuffled is not None
    partners, features = measured.shuffled.partners, measured.shuffled.features
    ranks = ground_truth_ranks(features, measured.truths, own=range(len(partners)))
    sensitivity = caption_sensitivity(measured.drawn, features, measured.truths, partners=partners)
    found = {"shuffled_recall_at_5": ranks.recall(5), "caption_sensitivity": sensitivity}
    return [Figure.of(name, interval, len(partners)) for name, interval in found.items() if interval]


def _retrieval_column(measured: Measured, by_net: Sequence[ByNet]) -> Column:
    assert measured.retrieved is not None
    figures = [*distance_figures(measured.retrieved, measured.truths), *_retrieval(ground_truth_ranks(measured.retrieved, measured.truths))]
    for each in by_net:
        assert each.retrieved is not None
        figures += distance_figures(each.retrieved, each.truths, family=each.net.family, net=each.net.name)
        if each.fit and each.fit.retrieved is not None:
            figures += fit_figures(each.fit.retrieved, each.fit.retrieved_ranks, net=each.net.name)
    return Column("nearest training caption", "the training picture whose caption shares most rare words: what looking up gets", tuple(figures))


def _real_column(measured: Measured, by_net: Sequence[ByNet]) -> Column:
    assert measured.reference is not None
    others = measured.reference.features[: len(measured.truths)]
    note = f"{len(others):,} random pictures of '{measured.reference.split}' against the ground truths: what real pictures get that are not these"
    figures = distance_figures(others, measured.truths)
    for each in by_net:
        assert each.real is not None
        figures += distance_figures(each.real, each.truths, family=each.net.family, net=each.net.name)
    return Column("other real pictures", note, tuple(figures))


def _truth_column(measured: Measured, by_net: Sequence[ByNet]) -> Column:
    figures = [*_retrieval(measured.truth_ranks), *_clarity(measured.truth_clarity)]
    if measured.truth_nearness:
        figures.append(Figure.of("copy_rate", measured.truth_nearness.copy_rate(), len(measured.truths)))
    for each in by_net:
        figures += fit_figures(each.fit.truths, each.fit.truth_ranks, net=each.net.name) if each.fit else []
    return Column(TRUTH, "as if drawn without a fault; retrieval is below 100 % only where the split has duplicates", tuple(figures))


def _chance_column(ranks: Ranks, by_net: Sequence[ByNet]) -> Column:
    values = {
        "recall_at_1": ranks.chance(1),
        "recall_at_5": ranks.chance(5),
        "rank_percentile": 0.5,
        "r_precision": 1 / (DISTRACTORS + 1),
        "shuffled_recall_at_5": ranks.chance(5),
        "caption_sensitivity": 0.0,
    }
    figures = [Figure(name, value, None, None, len(ranks.closer)) for name, value in values.items()]
    for each in by_net:
        if each.fit and each.fit.shuffled is not None:
            figures += fit_figures(each.fit.shuffled, None, net=each.net.name)
            figures.append(Figure("caption_r_precision", 1 / (DISTRACTORS + 1), None, None, len(ranks.closer), net=each.net.name))
    return Column("chance", "pictures that have nothing to do with their captions", tuple(figures))


def _group(tag: str, value: str, values: Sequence[str | None], ranks: Ranks) -> Group:
    rows = np.flatnonzero([each == value for each in values])
    return Group(tag, value, len(rows), share_interval(ranks.hits(1)[rows]), share_interval(ranks.hits(5)[rows]))


def tag_value(value: Any) -> str | None:
    """Return a tag as it is grouped by; None for what is no word and no number."""
    return str(value) if isinstance(value, (str, int)) and value != "" else None
