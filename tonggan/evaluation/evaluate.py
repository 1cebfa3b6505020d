"""Judging a model that draws: rows of a split are drawn, measured against their ground truths, and written down with the floors beside."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tonggan.data.pack import Pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.by_net import ByNet, clip_scores, facts_of, measure_by_net
from tonggan.evaluation.card import Card
from tonggan.evaluation.curves import retrieval_sections, training_sections
from tonggan.evaluation.drawing import Chosen, Drawer, draw, picture_paths, save_pictures
from tonggan.evaluation.features import FeatureExtractor, FeatureNet
from tonggan.evaluation.findings import columns, groups, model_figures, warnings
from tonggan.evaluation.folder import check_folder, remove_earlier, save_evaluation
from tonggan.evaluation.gallery import gallery
from tonggan.evaluation.intervals import Numbers
from tonggan.evaluation.measure import Measured, Ruler, measure, reference_pictures, reseeded_pictures, shuffled_pictures
from tonggan.evaluation.new_card import new_card
from tonggan.evaluation.others import OtherPictures
from tonggan.evaluation.report import gallery_sections
from tonggan.evaluation.retrieval import Ranks, ground_truth_ranks
from tonggan.evaluation.unfinished import NOTHING_KEPT

SHUFFLED = 256
"""Captions that are drawn a second time with another row's words."""
RESEEDED = 64
"""Captions that are drawn a second time from another seed."""


def evaluate(
    model: Drawer,
    asked: Asked,
    *,
    batch_size: int = 64,
    net: FeatureExtractor | None = None,
    nets: Sequence[FeatureExtractor] = (),
    cache: Path | None = None,
    shuffled: int = SHUFFLED,
) -> Card:
    """Draw the captions of a split, measure the pictures, and write card.json, card.md, rows.jsonl, report.html and pictures/ into `asked.out`.

    Args:
        model: what draws; see `Drawer`.
        asked: which captions, beside what, and where to.
        batch_size: captions drawn at once; it changes pictures by a grey level of 255 at most, as sums are rounded in another order.
        net: feature network; EfficientNet-Lite0 unless given.
        nets: further networks to measure with: Inception-v3 for FID, CLIP for CMMD and CLIPScore, DINOv2.
        cache: folder in which features of the pack are kept between evaluations.
        shuffled: captions that are drawn once more with another row's words, from the same seed, and (up to 64 of them) from another seed; 0 leaves
            both checks out.

    Raises `UserError` for a pack without pictures, an unknown split, a language without captions, a limit below two, a full disk, a feature network
    that is not installed, and an `out` that cannot be a folder or in which something else lies that would be overwritten.
    """
    pack, out = asked.pack, asked.out
    pack.require("image", arrow="text->image")
    check_folder(out)
    ruler = Ruler(net or FeatureNet.load(), cache, asked.progress)
    chosen = asked.rows(model.phrasings)
    captions, seeds = [sample.caption for sample in chosen.samples], [sample.seed for sample in chosen.samples]
    kept = NOTHING_KEPT if isinstance(model, OtherPictures) else asked.kept(model.weights_hash, model.settings())
    drawn = draw(model, captions, seeds=seeds, batch_size=batch_size, kept=kept, progress=asked.progress)
    others = shuffled_pictures(ruler, model, chosen, count=shuffled, batch_size=batch_size, kept=kept)
    known = reference_pictures(ruler, pack, asked.reference)
    measured = measure(
        ruler,
        chosen,
        drawn,
        pack=pack,
        phrasings=model.phrasings,
        shuffled=others,
        reseeded=reseeded_pictures(ruler, model, chosen, count=min(shuffled, RESEEDED), batch_size=batch_size, kept=kept),
        reference=known,
    )
    by_net = [measure_by_net(each, ruler, chosen, drawn, pack=pack, reference=known, retrieved=measured.looked_up) for each in nets]
    card = new_card(
        model,
        asked,
        arrow="text->image",
        settings=model.settings(),
        chosen=chosen,
        seconds=None if isinstance(model, OtherPictures) else drawn.seconds,
        batch_size=batch_size,
        figures=model_figures(measured, by_net),
        columns=columns(measured, by_net),
        features=facts_of(ruler.net),
        nets=[facts_of(each) for each in nets],
        groups=groups(chosen.samples, measured.ranks),
        warnings=warnings(chosen, drawn, measured, by_net, asked),
    )
    remove_earlier(out)
    save_pictures(out / "pictures", chosen.samples, drawn.pictures)
    shown = (
        gallery_sections(card, gallery(chosen, drawn, measured, pack=pack)) + retrieval_sections(_curves(measured)) + training_sections(asked.journal)
    )
    save_evaluation(out, card, rows=_rows(chosen, measured, by_net, pack=pack, best_of=int(card.model.settings.get("best_of", 1))), shown=shown)
    return card


def _curves(measured: Measured) -> dict[str, Ranks]:
    found = {"the model": measured.ranks}
    return found if measured.retrieved is None else found | {"nearest training caption": ground_truth_ranks(measured.retrieved, measured.truths)}


def _rows(chosen: Chosen, measured: Measured, by_net: Sequence[ByNet], *, pack: Pack, best_of: int) -> Iterator[dict[str, Any]]:
    """Yield what is known of each drawn picture, so that a figure can be looked into, computed anew in another way, or compared row by row.

    Where it is the best of several, `seed` is the first of theirs.
    """
    first_seed = chosen.samples[0].seed
    known, nearness = measured.reference, measured.nearness
    values = _row_values(measured, by_net)
    for number, (sample, path) in enumerate(zip(chosen.samples, picture_paths(chosen.samples), strict=True)):
        row = {
            "file_name": sample.file_name,
            "picture": f"pictures/{path}",
            "caption": sample.caption,
            "seed": first_seed + (sample.seed - first_seed) * best_of,
            "rank": int(measured.ranks.closer[number]) + 1,
            "similarity": round(float(measured.ranks.similarity[number]), 6),
        }
        if known and nearness:
            row["nearest_training"] = pack.row(known.rows[int(nearness.nearest[number])]).file_name
            ratio = float(nearness.ratio[number])
            row["nearest_training_ratio"] = round(ratio, 6) if math.isfinite(ratio) else None
        yield row | {"figures": {name: round(float(each[number]), 6) for name, each in values.items()}, "tags": dict(sample.tags)}


def _row_values(measured: Measured, by_net: Sequence[ByNet]) -> dict[str, Numbers]:
    """Return the figures that are means over rows, as (N,) values by the figure's key."""
    ranks, clear = measured.ranks, measured.clarity
    found = {"recall_at_1": ranks.hits(1), "recall_at_5": ranks.hits(5), "rank_percentile": ranks.percentiles()}
    found |= {"sharpness": clear.sharpness, "blockiness": clear.blockiness, "ringing": clear.ringing}
    if (chosen_of := ranks.chosen_of()) is not None:
        found["r_precision"] = chosen_of
    if measured.nearness:
        found["copy_rate"] = measured.nearness.copied().astype(np.float64)
    for each in by_net:
        if each.fit:
            found[f"clip_score @ {each.net.name}"] = clip_scores(each.fit.drawn)
            if (chosen_of := each.fit.ranks.chosen_of()) is not None:
                found[f"caption_r_precision @ {each.net.name}"] = chosen_of
    return found
